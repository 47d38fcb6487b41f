//! What an error that a runner tells means for the outcome.

use seatrial_core::outcome::Claim;
use seatrial_proto::v1::{self, ErrorClass, RunnerStage};

use crate::runtime::RuntimeError;

/// A longer message is cut, in characters.
const MAX_MESSAGE: usize = 8 << 10;

/// `asked` is where the runner is when it does not tell.
pub(super) fn error(error: &v1::Error, asked: RunnerStage) -> RuntimeError {
    let told = error.stage();
    let stage = if told == RunnerStage::Unspecified { asked } else { told };
    let v1::Error { code, message, operator, .. } = error;
    let mut text = message.clone();
    for (name, value) in [("operator", operator), ("code", code)] {
        if !value.is_empty() {
            text = format!("{text} ({name} {value})");
        }
    }
    RuntimeError::new(claim(error.class(), stage), text.chars().take(MAX_MESSAGE).collect::<String>())
}

fn claim(class: ErrorClass, stage: RunnerStage) -> Claim {
    match class {
        ErrorClass::UnsupportedOp => Claim::UnsupportedOp,
        ErrorClass::UnsupportedFormat
        | ErrorClass::WrongAbi
        | ErrorClass::MissingLibrary
        | ErrorClass::NoDevice
        | ErrorClass::FallbackRefused => Claim::UnsupportedBackend,
        ErrorClass::OutOfMemory => Claim::OutOfMemory,
        ErrorClass::Timeout => Claim::Hang,
        ErrorClass::BadInput => match stage {
            RunnerStage::Unspecified
            | RunnerStage::Hello
            | RunnerStage::Load
            | RunnerStage::Compile
            | RunnerStage::Allocate => Claim::LoadFail,
            RunnerStage::FirstInference
            | RunnerStage::Warmup
            | RunnerStage::Measure
            | RunnerStage::Generate
            | RunnerStage::Score
            | RunnerStage::Teardown => Claim::SpecError,
        },
        // A class of a later version is an error like any.
        ErrorClass::Internal | ErrorClass::Unspecified => match stage {
            RunnerStage::Compile => Claim::CompileFail,
            RunnerStage::Unspecified | RunnerStage::Hello | RunnerStage::Load | RunnerStage::Allocate => {
                Claim::LoadFail
            }
            RunnerStage::FirstInference
            | RunnerStage::Warmup
            | RunnerStage::Measure
            | RunnerStage::Generate
            | RunnerStage::Score
            | RunnerStage::Teardown => Claim::RunFail,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_claim_by_its_class_and_where_that_does_not_tell_by_its_stage() {
        let said = |class: ErrorClass, stage: RunnerStage| {
            let error =
                v1::Error { class: class.into(), stage: stage.into(), message: "no".into(), ..Default::default() };
            super::error(&error, RunnerStage::Measure).claim
        };
        for (class, stage, claim) in [
            (ErrorClass::UnsupportedOp, RunnerStage::Load, Claim::UnsupportedOp),
            (ErrorClass::FallbackRefused, RunnerStage::Load, Claim::UnsupportedBackend),
            (ErrorClass::OutOfMemory, RunnerStage::Measure, Claim::OutOfMemory),
            (ErrorClass::BadInput, RunnerStage::Load, Claim::LoadFail),
            (ErrorClass::BadInput, RunnerStage::FirstInference, Claim::SpecError),
            (ErrorClass::Internal, RunnerStage::Load, Claim::LoadFail),
            (ErrorClass::Internal, RunnerStage::Compile, Claim::CompileFail),
            (ErrorClass::Internal, RunnerStage::Measure, Claim::RunFail),
            (ErrorClass::Internal, RunnerStage::Unspecified, Claim::RunFail),
            (ErrorClass::Unspecified, RunnerStage::Load, Claim::LoadFail),
        ] {
            assert_eq!(said(class, stage), claim, "{class:?} in {stage:?}");
        }
    }

    #[test]
    fn an_error_is_told_whole_up_to_a_bound() {
        let told =
            v1::Error { message: "no kernel".into(), operator: "Fancy".into(), code: "7".into(), ..Default::default() };
        assert_eq!(error(&told, RunnerStage::Load).message, "no kernel (operator Fancy) (code 7)");
        let endless = v1::Error { message: "x".repeat(1 << 20), ..Default::default() };
        assert_eq!(error(&endless, RunnerStage::Load).message.len(), MAX_MESSAGE);
    }
}
