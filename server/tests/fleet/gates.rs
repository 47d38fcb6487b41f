//! How the runs of a whole server are judged.

use seatrial_core::gate::{FindingKind, Judgement};
use seatrial_core::ids::JobId;
use seatrial_core::model::Signature;
use seatrial_core::store::{NewRun, RunState};
use seatrial_core::time::Clock as _;
use seatrial_server::system::entropy;
use seatrial_sim::{Connection, Identity, report};

use crate::lab::{Lab, SUITE, device_of};

/// What the gate says of a run whose only job ends with `ok`.
async fn judged(lab: &Lab, agent: &mut Connection, change: impl FnOnce(NewRun) -> NewRun) -> Option<Judgement> {
    let new = change(lab.new_run(&[device_of(agent)], &Signature::default()));
    let (run, _) = lab.submit_run(new).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &report::ok(100)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.run_state(run).await, RunState::Done);
    let row = lab.store.run(run).await.unwrap().unwrap();
    let judgement: Option<Judgement> = row.gate.as_deref().map(|text| serde_json::from_str(text).unwrap());
    assert_eq!(row.gate_passed, judgement.as_ref().map(|judgement| judgement.passed));
    judgement
}

fn kinds(judgement: &Judgement) -> Vec<FindingKind> {
    judgement.findings.iter().map(|finding| finding.kind).collect()
}

#[tokio::test]
async fn a_run_whose_suite_can_no_longer_be_read_fails_its_gate() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let gated = |text: String| move |run: NewRun| NewRun { suite_text: text, ..run };
    assert_eq!(judged(&lab, &mut agent, |run| run).await, None, "the control: a suite without a gate");
    let lenient = format!("{SUITE}[gate]\nallow_invalid = true\n");
    assert!(judged(&lab, &mut agent, gated(lenient.clone())).await.unwrap().passed, "the control: a gate that is read");
    let later = judged(&lab, &mut agent, gated(format!("{lenient}max_late = 1\n"))).await.unwrap();
    assert_eq!((later.passed, kinds(&later)), (false, vec![FindingKind::GateUnreadable]));
    assert!(later.findings[0].message.contains("max_late"), "{}", later.findings[0].message);
}

#[tokio::test]
async fn a_rerun_is_judged_by_the_rules_about_its_job() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let about = |model: &str| format!("[[gate.metrics]]\nmetric = \"lat_p50_ms\"\nmax = 1e9\nmodel = \"{model}\"\n");
    let text = format!("{SUITE}[gate]\nallow_invalid = true\n{}{}", about("faces"), about("digits"));
    let gated = |rerun_of| {
        let suite_text = text.clone();
        move |run: NewRun| NewRun { suite_text, rerun_of, ..run }
    };
    let whole = judged(&lab, &mut agent, gated(None)).await.unwrap();
    assert_eq!(kinds(&whole), [FindingKind::NothingToJudge], "the control: the whole suite owes an answer about faces");
    let original = JobId::new(lab.clock.now(), entropy());
    let again = judged(&lab, &mut agent, gated(Some(original))).await.unwrap();
    assert_eq!((again.passed, again.comparisons), (true, 1), "{:?}", again.findings);
}
