//! A model file: what Verifpal reads, and in comments what it cannot say.
//!
//! | comment | means |
//! |---|---|
//! | `// layouts H11` | the rule of `spec/channel.md` that has the fields of M0 to M3 |
//! | `// sessions N, varied V, long L` | sessions of every principal: as specified, in variations, with `--long` |
//! | `LINE //-NAME` | the variation NAME lacks this line; several such marks may follow each other |
//! | `//+NAME LINE` | the variation NAME has this line |
//! | `QUERY // breaks: NAME, NAME` | the variations in which an attack on this property is found |

use anyhow::{Context, Result, bail};

/// What a name of a variation may begin with: a defence is missing, or a secret is the attacker's.
const KINDS: [&str; 2] = ["without-", "leaked-"];

/// The beginnings of a property.
const PROPERTIES: [&str; 4] = ["confidentiality?", "authentication?", "freshness?", "equivalence?"];

/// A model and the variations that it names.
#[derive(Debug)]
pub struct Model {
    pub name: String,
    pub layouts: String,
    pub sessions: Sessions,
    pub queries: Vec<Query>,
    /// In the order in which the file names them.
    pub variations: Vec<String>,
    lines: Vec<Line>,
}

/// How many sessions of every principal are searched.
#[derive(Debug, PartialEq, Eq)]
pub struct Sessions {
    pub specified: u8,
    pub varied: u8,
    pub long: u8,
}

impl Sessions {
    /// `N, varied V, long L`.
    fn parse(text: &str) -> Option<Self> {
        let (specified, rest) = text.split_once(", varied ")?;
        let (varied, long) = rest.split_once(", long ")?;
        Some(Sessions {
            specified: specified.parse().ok()?,
            varied: varied.parse().ok()?,
            long: long.parse().ok()?,
        })
    }
}

/// A property.
#[derive(Debug)]
pub struct Query {
    pub text: String,
    /// Variations in which it does not hold.
    pub broken_by: Vec<String>,
}

/// A line of the file without its comment.
#[derive(Debug)]
pub struct Line {
    pub code: String,
    /// What the comment says, without a mark of this module.
    pub comment: String,
    only_in: Option<String>,
    not_in: Vec<String>,
}

impl Line {
    fn parse(line: &str) -> Self {
        if let Some(rest) = line.trim_start().strip_prefix("//+") {
            let (name, code) = rest.split_once(' ').unwrap_or((rest, ""));
            let only_in = Some(name.to_owned());
            return Line { code: code.trim().into(), comment: String::new(), only_in, not_in: Vec::new() };
        }
        let mut parts = line.split("//");
        let code = parts.next().unwrap_or_default().trim().to_owned();
        let (marks, comments): (Vec<&str>, Vec<&str>) = parts.partition(|part| part.starts_with('-'));
        let not_in = marks.iter().map(|mark| mark[1..].trim().to_owned()).collect();
        Line { code, comment: comments.join("//").trim().into(), only_in: None, not_in }
    }

    fn is_in(&self, variation: &str) -> bool {
        self.only_in.as_ref().is_none_or(|only| only == variation)
            && !self.not_in.iter().any(|name| name == variation)
    }
}

impl Model {
    /// Reads a model and checks that its variations and its properties speak of each other.
    pub fn parse(name: &str, source: &str) -> Result<Self> {
        let lines: Vec<Line> = source.lines().map(Line::parse).collect();
        let told = |key: &str| lines.iter().find_map(|line| line.comment.strip_prefix(key)).map(str::trim);
        let layouts = told("layouts ").context("no line `// layouts RULE`")?.to_owned();
        let sessions = told("sessions ").and_then(Sessions::parse);
        let sessions = sessions.context("no line `// sessions N, varied V, long L`")?;

        let mut variations: Vec<String> = Vec::new();
        for name in lines.iter().flat_map(|line| line.only_in.iter().chain(&line.not_in)) {
            if !KINDS.iter().any(|kind| name.starts_with(kind)) {
                bail!("the variation `{name}` begins with neither {}", KINDS.join(" nor "));
            }
            if !variations.contains(name) {
                variations.push(name.clone());
            }
        }
        let mut queries = Vec::new();
        for line in &lines {
            if !PROPERTIES.iter().any(|property| line.code.starts_with(property)) {
                continue;
            }
            let broken_by: Vec<String> = line
                .comment
                .strip_prefix("breaks:")
                .map_or_else(Vec::new, |names| names.split(',').map(|name| name.trim().to_owned()).collect());
            if broken_by.is_empty() {
                bail!("no variation breaks `{}`: nothing shows that an attack on it can be found", line.code);
            }
            if let Some(unknown) = broken_by.iter().find(|name| !variations.contains(name)) {
                bail!("`{}` names `{unknown}`, and no line of the model does", line.code);
            }
            queries.push(Query { text: line.code.clone(), broken_by });
        }
        if queries.is_empty() {
            bail!("the model states no property");
        }
        let idle = |name: &&String| {
            name.starts_with(KINDS[0]) && !queries.iter().any(|q| q.broken_by.contains(name))
        };
        if let Some(idle) = variations.iter().find(idle) {
            bail!("the variation `{idle}` breaks no property: then the defence that it lacks is none");
        }
        Ok(Model { name: name.to_owned(), layouts, sessions, queries, variations, lines })
    }

    /// The text for Verifpal; an empty name stands for the model as it is.
    pub fn variation(&self, name: &str) -> String {
        let lines = self.lines.iter().filter(|line| line.is_in(name));
        lines.map(|line| format!("{}\n", line.code)).collect()
    }

    /// Every line, those of variations too.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Where the attacks found in a variation are not those that the model says.
    pub fn differences(&self, variation: &str, broken: &[bool]) -> Vec<String> {
        let place =
            if variation.is_empty() { self.name.clone() } else { format!("{} {variation}", self.name) };
        let mut differences = Vec::new();
        for (query, broken) in self.queries.iter().zip(broken) {
            match (query.broken_by.iter().any(|name| name == variation), *broken) {
                (false, true) => differences.push(format!("{place}: an attack on `{}` is found", query.text)),
                (true, false) => differences.push(format!("{place}: no attack on `{}` is found", query.text)),
                _ => {}
            }
        }
        differences
    }
}

/// The result code that Verifpal ends with: one letter and 0 or 1 (an attack) for each of `n` queries.
pub fn broken(output: &str, n: usize) -> Result<Vec<bool>> {
    let code = output.lines().last().unwrap_or_default().trim();
    let digit = |(i, c): (usize, char)| match (i % 2, c) {
        (0, 'c' | 'a' | 'f' | 'e') => Some(None),
        (1, '0') => Some(Some(false)),
        (1, '1') => Some(Some(true)),
        _ => None,
    };
    let digits: Option<Vec<Option<bool>>> = code.chars().enumerate().map(digit).collect();
    let verdicts: Vec<bool> = digits.unwrap_or_default().into_iter().flatten().collect();
    if verdicts.len() != n || code.len() != 2 * n {
        bail!("`{code}` is no result code of {n} queries");
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "// layouts H11\n// sessions 2, varied 1, long 3\nk = HKDF(a, b, c) //-without-k //-without-x // why\n\
        //+without-k k = nil\n\tleaks s //-without-x\n//+leaked-s leaks s\nqueries[\n\
        \tconfidentiality? k // breaks: without-k, without-x\n\tauthentication? A -> B: m // breaks: without-x\n]\n";

    #[test]
    fn a_variation_differs_in_the_marked_lines_only() {
        let model = Model::parse("m", GOOD).unwrap();
        assert_eq!(model.variations, ["without-k", "without-x", "leaked-s"]);
        assert_eq!(model.sessions, Sessions { specified: 2, varied: 1, long: 3 });
        assert_eq!(model.layouts, "H11");
        let code = |name| model.variation(name).split_whitespace().collect::<Vec<_>>().join(" ");
        let queries = "queries[ confidentiality? k authentication? A -> B: m ]";
        assert_eq!(code(""), format!("k = HKDF(a, b, c) leaks s {queries}"));
        assert_eq!(code("without-k"), format!("k = nil leaks s {queries}"));
        assert_eq!(code("without-x"), queries);
        assert_eq!(code("leaked-s"), format!("k = HKDF(a, b, c) leaks s leaks s {queries}"));
    }

    #[test]
    fn what_is_found_and_what_is_said_must_agree_both_ways() {
        let model = Model::parse("m", GOOD).unwrap();
        assert!(model.differences("", &[false, false]).is_empty());
        assert!(model.differences("without-k", &[true, false]).is_empty());
        assert_eq!(model.differences("", &[true, false]), ["m: an attack on `confidentiality? k` is found"]);
        assert_eq!(
            model.differences("without-k", &[false, true]),
            [
                "m without-k: no attack on `confidentiality? k` is found",
                "m without-k: an attack on `authentication? A -> B: m` is found"
            ]
        );
    }

    #[test]
    fn a_property_that_nothing_breaks_and_a_variation_that_breaks_nothing_are_refused() {
        for (from, to, message) in [
            (" // breaks: without-x\n]", "\n]", "no variation breaks"),
            ("breaks: without-k, without-x", "breaks: without-x", "`without-k` breaks no property"),
            ("breaks: without-k", "breaks: without-kk", "no line of the model does"),
            ("//+leaked-s", "//+lost-s", "begins with neither"),
            ("varied 1, ", "", "no line `// sessions"),
        ] {
            let error = Model::parse("m", &GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(format!("{error:#}").contains(message), "{from}: {error:#}");
        }
    }

    #[test]
    fn a_result_code_has_a_verdict_for_each_query() {
        assert_eq!(broken("warning\nc0a1e0\n", 3).unwrap(), [false, true, false]);
        for (code, n) in [("c0a1", 3), ("c0a1e0", 2), ("", 1), ("c2", 1), ("x0", 1), ("error", 2)] {
            assert!(broken(code, n).is_err(), "{code}");
        }
    }
}
