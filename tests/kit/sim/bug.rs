//! Bugs put in on purpose, to prove that the judge sees them.
//!
//! They live between the world and the real core, so the core needs no switch for them: the adapter answers too
//! early, forgets, or lets pass what the core would have refused.

use crate::checker::Violation;

/// One bug.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bug {
    /// A send is acknowledged before it is flushed.
    AckBeforeFlush,
    /// Numbers are marked as held before the signature is checked.
    RememberBeforeVerify,
    /// Signatures are not checked.
    NoVerify,
    /// Nobody asks for what is missing.
    NoRepair,
    /// A restart goes on with the epoch of the run before.
    ReusedNumber,
    /// Only the newest envelopes are known as held.
    LossyDedup,
    /// A restart forgets which keys were used.
    ForgottenKeys,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AckBeforeFlush,
        Self::RememberBeforeVerify,
        Self::NoVerify,
        Self::NoRepair,
        Self::ReusedNumber,
        Self::LossyDedup,
        Self::ForgottenKeys,
    ];

    /// Whether this violation is what the bug does, not a side effect.
    #[must_use]
    pub fn explains(self, violation: &Violation) -> bool {
        match self {
            Self::AckBeforeFlush => matches!(violation, Violation::AckLost { .. }),
            Self::RememberBeforeVerify | Self::NoRepair => {
                matches!(violation, Violation::AckLost { .. } | Violation::Unequal { .. })
            }
            Self::NoVerify => matches!(violation, Violation::BadSignature { .. }),
            Self::ReusedNumber => matches!(
                violation,
                Violation::NumberReused { .. } | Violation::Altered { .. } | Violation::NotSent { .. }
            ),
            Self::LossyDedup => matches!(violation, Violation::DeliveredTwice { .. }),
            Self::ForgottenKeys => matches!(violation, Violation::KeyTwice { .. }),
        }
    }
}
