//! A module or a pack controller in the place of another one, by a delegate (`spec/channel.md`, H226, H228, H236).

use super::{
    ceremony::{Ground, Way},
    *,
};
use lct::id::PairingId;

/// The place of a module that was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose module it was.
    pub pack: String,
    /// By which binding.
    pub binding: BindingId,
    /// Why and when that ended, where the journal has it.
    pub ended: Option<(Reason, u32)>,
}

impl Place {
    /// That of `old`, for `new`.
    ///
    /// # Errors
    /// [`FieldError::Itself`], [`FieldError::Unknown`].
    pub fn of(ground: &Ground, old: &str, new: &str) -> Result<Self, FieldError> {
        if old == new {
            return Err(FieldError::Itself(old.into()));
        }
        match (ground.above(old), ground.gone(old)) {
            (Some((pack, binding)), _) => Ok(Place { pack: pack.into(), binding, ended: None }),
            // Cut off after its last act, of which the pack may not have heard.
            (None, Some(gone)) => Ok(Place {
                pack: gone.sides[0].clone(),
                binding: gone.binding_id,
                ended: Some((gone.reason, gone.time)),
            }),
            (None, None) => Err(FieldError::Unknown(old.into())),
        }
    }
}

/// A pack controller that has the place of another one.
#[derive(Debug)]
pub struct Exchanged {
    /// Whose pack it is.
    pub app: String,
    /// How many modules are paired with it.
    pub modules: usize,
    /// Modules that did not follow, and why. They keep their binding with the old one.
    pub left: Vec<(String, FieldError)>,
}

impl Field {
    /// Has two bound and then paired, in the place of `instead` where that is in force. Cut off between the two, it goes on with the
    /// pairing; where devices answer that it does not work any more both get other keys.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn bind_and_pair(
        &mut self,
        ground: &mut Ground,
        pair: [&str; 2],
        instead: Option<BindingId>,
        now: u32,
        way: &mut Way<'_>,
    ) -> Result<(BindingId, PairingId), FieldError> {
        // What is bound and cannot be paired would be given up by the next command, again and again.
        self.may_pair(pair[0], pair[1], now)?;
        if let Some(binding) = ground.unpaired(pair) {
            match self.pair(ground, pair, now, way) {
                Err(error) if error.is_answer() => {}
                paired => return paired.map(|pairing| (binding, pairing)),
            }
        }
        let binding = self.bind(ground, pair, instead, now, way)?;
        Ok((binding, self.pair(ground, pair, now, way)?))
    }

    /// Has the pack controller `new` take the place of `old`, which broke: its app follows first, for without it nobody reaches the
    /// modules, then each module that did not yet. One whose owner has not agreed, or that is not there, stays; the others follow
    /// all the same. What the journal has is not done again.
    ///
    /// # Errors
    /// [`FieldError`]; of a module only where it is not the module's.
    pub fn exchange(
        &mut self,
        ground: &mut Ground,
        [old, new]: [&str; 2],
        now: u32,
        way: &mut Way<'_>,
    ) -> Result<Exchanged, FieldError> {
        if old == new {
            return Err(FieldError::Itself(old.into()));
        }
        if !self.names(new) {
            return Err(FieldError::Spare(new.into()));
        }
        let (app, gives_way) = ground.app_of(old, new).ok_or_else(|| FieldError::Unknown(old.into()))?;
        self.may_end(&app, old, now)?;
        if !ground.is_paired([&app, new]) {
            // A wrong name must not cost a pack that works.
            if gives_way.is_some() && self.answers(old, way)? {
                return Err(FieldError::Answers(old.into()));
            }
            self.bind_and_pair(ground, [&app, new], gives_way, now, way)?;
        }
        let mut left = Vec::new();
        for (module, gives_way) in ground.followers(old, new) {
            match self.bind_and_pair(ground, [new, &module], gives_way, now, way) {
                Err(why) if stays(&why, &module) => left.push((module, why)),
                done => drop(done?),
            }
        }
        Ok(Exchanged { app, modules: ground.paired_below(new), left })
    }
}

/// Whether only `module` is the reason: it is not there, refuses, or an owner has not agreed or is not known.
fn stays(why: &FieldError, module: &str) -> bool {
    match why {
        FieldError::Owner { .. } | FieldError::Whose(_) => true,
        FieldError::NotReached { who, .. }
        | FieldError::Declined { who, .. }
        | FieldError::Misfit { who, .. }
        | FieldError::Unfinished { who, .. } => who == module,
        _ => false,
    }
}
