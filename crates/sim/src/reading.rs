//! What the sensors of a pack show at one moment, whether a file or a model stands behind them.

/// The whole pack: modules in series.
///
/// A caller keeps one and lets the source write into it, so that a running simulation allocates nothing per step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Reading {
    /// Voltage at the pack terminals in millivolts.
    pub pack_mv: u32,
    /// Pack current in milliamperes, positive when charging.
    pub pack_ma: i32,
    /// One entry per module, in order along the string.
    pub modules: Vec<ModuleReading>,
}

/// One module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ModuleReading {
    /// Voltage of each cell group in millivolts.
    pub cell_mv: Vec<u16>,
    /// Each temperature sensor in thousandths of a degree Celsius: one per module in the measured files, one per cell
    /// group in the model.
    pub temp_mdegc: Vec<i32>,
    /// Module voltage in millivolts, the sum of its groups.
    pub voltage_mv: u32,
    /// Module current in milliamperes, positive when charging.
    pub current_ma: i32,
}

impl Reading {
    /// Makes room for exactly `modules` modules; those that stay keep their memory.
    pub fn resize(&mut self, modules: usize) {
        self.modules.resize_with(modules, ModuleReading::default);
    }
}
