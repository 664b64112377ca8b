//! Orders of operators that are under way here (`spec/api.md`, A60): which task does each, and how it ended.
//!
//! The bridge keeps an order until it hears an outcome. What is known here is lost with this program; the order is
//! then done again, which is as good.

use std::collections::BTreeMap;

/// Names an order at the bridge.
pub type OrderId = [u8; 16];

/// How an order ended: what was done, if there is more to say than that; on failure, why.
pub type Ending = Result<String, String>;

#[derive(Debug, Default)]
pub(crate) struct Orders(BTreeMap<OrderId, (String, Option<Ending>)>);

impl Orders {
    /// Whether the order was begun here.
    pub fn is_known(&self, id: &OrderId) -> bool {
        self.0.contains_key(id)
    }

    /// The order is done by the task with this name.
    pub fn begin(&mut self, id: OrderId, task: String) {
        self.0.insert(id, (task, None));
    }

    /// Whether an order waits for the task with this name.
    pub fn waits(&self, task: &str) -> bool {
        self.0.values().any(|(name, ending)| name == task && ending.is_none())
    }

    /// The task with this name is done; `said` tells more, if there is anything to tell.
    pub fn done(&mut self, task: &str, said: &str) {
        for (_, ending) in self.0.values_mut().filter(|(name, ending)| name == task && ending.is_none()) {
            *ending = Some(Ok(said.to_owned()));
        }
    }

    /// The task with this name was not done because of `reason`.
    pub fn failed(&mut self, task: &str, reason: &str) {
        for (_, ending) in self.0.values_mut().filter(|(name, ending)| name == task && ending.is_none()) {
            *ending = Some(Err(reason.to_owned()));
        }
    }

    /// Tasks were given up because of `reason`: orders whose task does not wait any more ended with it.
    pub fn given_up(&mut self, reason: &str, waits: impl Fn(&str) -> bool) {
        for (name, ending) in self.0.values_mut() {
            if ending.is_none() && !waits(name) {
                *ending = Some(Err(reason.to_owned()));
            }
        }
    }

    /// Forgets orders without an ending whose task does not wait any more: they are begun anew.
    pub fn dropped(&mut self, waits: impl Fn(&str) -> bool) {
        self.0.retain(|_, (name, ending)| ending.is_some() || waits(name));
    }

    /// Forgets what does not wait at the bridge any more, and returns what ended.
    pub fn ended(&mut self, waiting: &[OrderId]) -> Vec<(OrderId, Ending)> {
        self.0.retain(|id, _| waiting.contains(id));
        self.0.iter().filter_map(|(id, (_, ending))| Some((*id, ending.clone()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_ends_with_its_task_and_is_told_until_the_bridge_knows() {
        let (mut orders, all) = (Orders::default(), [[1; 16], [2; 16], [3; 16]]);
        orders.begin([1; 16], "pair a b".into());
        orders.begin([2; 16], "pair a c".into());
        orders.begin([3; 16], "pair a d".into());
        assert_eq!(orders.ended(&all), vec![]);
        orders.done("pair a b", "told");
        // The policy of a and c was given up, and with it the pairing after it; that of a and d still waits.
        orders.given_up("c is silent", |name| name == "pair a d");
        let ended = vec![([1; 16], Ok("told".to_owned())), ([2; 16], Err("c is silent".to_owned()))];
        assert_eq!(orders.ended(&all), ended);
        orders.given_up("later", |_| false);
        assert_eq!(orders.ended(&all[..2]), ended, "the first ending stands");
        assert!(!orders.is_known(&[3; 16]) && orders.is_known(&[1; 16]));
        assert_eq!(orders.ended(&[]), vec![]);
        assert!(!orders.is_known(&[1; 16]));
        orders.begin([4; 16], "pair a b".into());
        orders.begin([5; 16], "pair a c".into());
        orders.begin([6; 16], "rotate a b".into());
        orders.failed("rotate a b", "no channel");
        assert_eq!(orders.ended(&[[4; 16], [5; 16], [6; 16]]), vec![([6; 16], Err("no channel".to_owned()))]);
        orders.dropped(|name| name == "pair a b");
        assert!(orders.is_known(&[4; 16]) && !orders.is_known(&[5; 16]));
    }
}
