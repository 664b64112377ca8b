//! The label with a pack's printed code: a QR code and the same in letters (H146).
//!
//! The QR code holds `modbatt:ID?code=XXXXXXXXXXXXC` (component id, 12 characters, check character), with error
//! correction level Q, because labels in a battery compartment get scratched.

use qrcode::render::{svg, unicode};
use qrcode::{EcLevel, QrCode};

use crate::cmd::Failure;

const SCHEME: &str = "modbatt:";
const CODE: &str = "?code=";
/// Side of a module of the QR code, in the units of the drawing.
const MODULE: u32 = 6;

/// What a label says.
pub struct Label<'a> {
    /// Component id.
    pub id: &'a str,
    /// Serial number.
    pub serial: &'a str,
    /// The code as it is printed, in groups.
    pub code: &'a str,
}

impl Label<'_> {
    /// What the QR code holds.
    pub fn content(&self) -> String {
        let plain: String = self.code.chars().filter(|c| *c != '-').collect();
        format!("{SCHEME}{}{CODE}{plain}", self.id)
    }

    fn qr(&self) -> Result<QrCode, Failure> {
        QrCode::with_error_correction_level(self.content(), EcLevel::Q)
            .map_err(|e| Failure::Failed(format!("the label's QR code cannot be drawn: {e}")))
    }

    /// A drawing for a label printer.
    pub fn svg(&self) -> Result<String, Failure> {
        let qr = self.qr()?;
        let side = (qr.width() as u32 + 8) * MODULE;
        let image = qr.render::<svg::Color>().module_dimensions(MODULE, MODULE).build();
        let inner = image.split_once("?>").map_or(image.as_str(), |(_, svg)| svg);
        let height = side + 60;
        let middle = side / 2;
        Ok(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{side}\" \
             height=\"{height}\" viewBox=\"0 0 {side} {height}\">\n<rect width=\"{side}\" height=\"{height}\" \
             fill=\"#fff\"/>\n{inner}\n<g font-family=\"monospace\" text-anchor=\"middle\">\n\
             <text x=\"{middle}\" y=\"{}\" font-size=\"22\">{}</text>\n\
             <text x=\"{middle}\" y=\"{}\" font-size=\"13\">{}</text>\n\
             <text x=\"{middle}\" y=\"{}\" font-size=\"13\">S/N {}</text>\n</g>\n</svg>\n",
            side + 14,
            self.code,
            side + 34,
            self.id,
            side + 52,
            escaped(self.serial),
        ))
    }

    /// A drawing for a terminal.
    pub fn text(&self) -> Result<String, Failure> {
        let qr = self.qr()?;
        Ok(qr.render::<unicode::Dense1x2>().build())
    }
}

/// Takes the code out of what a scanner read, if that is a label of ours; anything else is taken for a typed code.
pub fn code_in(scanned: &str) -> &str {
    let found = scanned.trim().strip_prefix(SCHEME).and_then(|rest| rest.split_once(CODE));
    found.map_or(scanned.trim(), |(_, code)| code)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_what_a_scanner_needs() {
        let label = Label { id: "pack-0001", serial: "SN<1>", code: "ABCD-EFGH-JKMN-7" };
        assert_eq!(label.content(), "modbatt:pack-0001?code=ABCDEFGHJKMN7");
        assert_eq!(code_in(&label.content()), "ABCDEFGHJKMN7");
        assert_eq!(code_in(" ABCD-EFGH-JKMN-7\n"), "ABCD-EFGH-JKMN-7");
        let svg = label.svg().unwrap();
        assert!(svg.contains("ABCD-EFGH-JKMN-7") && svg.contains("SN&lt;1&gt;") && !svg.contains("SN<1>"));
        assert_eq!(svg.matches("<?xml").count(), 1);
        let text = label.text().unwrap();
        let lines: Vec<usize> = text.lines().map(|l| l.chars().count()).collect();
        assert!(lines.len() > 15 && lines.iter().all(|n| *n == lines[0]), "{text}");
    }
}
