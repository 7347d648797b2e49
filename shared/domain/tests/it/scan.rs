//! Rules for files that are scanned for viruses.

use crate::given::NOW;
use proptest::prelude::*;
use waybill_domain::Refusal;
use waybill_domain::directory::CompanyRules;
use waybill_domain::file::{Command, State, decide, evolve};
use waybill_domain::scan::{Clearance, ScanRules};
use waybill_schema::events::{CompanySettings, FileScanned};
use waybill_schema::*;

fn scanned(result: ScanResult, database_version: &str) -> FileScanned {
    let engine = "ClamAV 1.4.6".to_owned();
    FileScanned { result, engine, database_version: database_version.to_owned(), covered_bytes: 7 }
}

fn infected(signature: &str) -> ScanResult {
    ScanResult::Infected { signature: signature.to_owned() }
}

/// Returns the command to record a scan that began in this state.
fn record(state: &State, result: ScanResult, database_version: &str) -> Command {
    Command::RecordScan { scan: scanned(result, database_version), seen: state.last_scan() }
}

fn run(state: &mut State, command: Command) -> Result<bool, Refusal> {
    let event = decide(state, command.clone())?;
    if let Some(event) = &event {
        evolve(state, event, NOW);
        assert_eq!(decide(state, command), Ok(None), "deciding twice has an effect");
    }
    Ok(event.is_some())
}

#[test]
fn a_release_is_about_one_finding() {
    let mut state = State::default();
    assert_eq!(run(&mut state, Command::Release), Err(Refusal::NotQuarantined));
    assert_eq!(
        {
            let command = record(&state, ScanResult::Clean, "1");
            run(&mut state, command)
        },
        Ok(true)
    );
    assert_eq!(run(&mut state, Command::Release), Err(Refusal::NotQuarantined));
    assert_eq!(
        {
            let command = record(&state, infected("A"), "2");
            run(&mut state, command)
        },
        Ok(true)
    );
    assert_eq!((run(&mut state, Command::Release), state.scans.is_released), (Ok(true), true));
    assert_eq!(
        {
            let command = record(&state, infected("A"), "3");
            run(&mut state, command)
        },
        Ok(true)
    );
    assert!(state.scans.is_released, "the same finding with newer signatures");
    assert_eq!(
        {
            let command = record(&state, infected("B"), "4");
            run(&mut state, command)
        },
        Ok(true)
    );
    assert!(!state.scans.is_released, "another finding");
}

#[test]
fn a_slow_scan_does_not_replace_a_newer_one() {
    let mut state = State::default();
    let slow = record(&state, ScanResult::Clean, "1");
    let fast = record(&state, infected("A"), "2");
    assert_eq!(run(&mut state, fast), Ok(true));
    assert_eq!(run(&mut state, slow), Ok(false));
    assert_eq!(state.scans.last, Some(infected("A")));
}

#[test]
fn a_company_can_only_choose_stricter_rules() {
    let rules = |limit: Option<ScanPolicy>, own: Option<ScanPolicy>| CompanyRules {
        limits: CompanySettings { scan: limit, ..CompanySettings::default() },
        settings: CompanySettings { scan: own, ..CompanySettings::default() },
        ..CompanyRules::default()
    };
    let of = |policy| ScanRules { policy, unscanned: UnscannedPolicy::Block };
    for (installation, limit, own, expected) in [
        (ScanPolicy::Off, None, None, ScanPolicy::Off),
        (ScanPolicy::Off, None, Some(ScanPolicy::Require), ScanPolicy::Require),
        (ScanPolicy::Require, Some(ScanPolicy::Off), Some(ScanPolicy::Off), ScanPolicy::Require),
        (ScanPolicy::Off, Some(ScanPolicy::Inform), Some(ScanPolicy::Off), ScanPolicy::Inform),
    ] {
        assert_eq!(rules(limit, own).scans(of(installation)).policy, expected);
    }
    let unscanned = |limit, own| {
        let of = |unscanned| CompanySettings { unscanned, ..CompanySettings::default() };
        let rules = CompanyRules { limits: of(limit), settings: of(own), ..CompanyRules::default() };
        rules.scans(ScanRules::default()).unscanned
    };
    assert_eq!(unscanned(None, Some(UnscannedPolicy::Label)), UnscannedPolicy::Block);
    assert_eq!(unscanned(Some(UnscannedPolicy::Label), None), UnscannedPolicy::Label);
    assert_eq!(unscanned(Some(UnscannedPolicy::Label), Some(UnscannedPolicy::Block)), UnscannedPolicy::Block);
}

fn policies() -> impl Strategy<Value = ScanRules> {
    let policy = prop_oneof![Just(ScanPolicy::Off), Just(ScanPolicy::Inform), Just(ScanPolicy::Require)];
    let unscanned = prop_oneof![Just(UnscannedPolicy::Label), Just(UnscannedPolicy::Block)];
    (policy, unscanned).prop_map(|(policy, unscanned)| ScanRules { policy, unscanned })
}

fn verdicts() -> impl Strategy<Value = Option<Verdict>> {
    prop_oneof![Just(None), Just(Some(Verdict::Clean)), Just(Some(Verdict::Infected)), Just(Some(Verdict::Unscanned))]
}

proptest! {
    #[test]
    fn stricter_rules_never_make_a_file_readable(one in policies(), other in policies(), verdict in verdicts(), released: bool) {
        let stricter = ScanRules { policy: one.policy.max(other.policy), unscanned: one.unscanned.max(other.unscanned) };
        if stricter.clearance(verdict, released) == Clearance::Readable {
            prop_assert_eq!(one.clearance(verdict, released), Clearance::Readable);
            prop_assert_eq!(other.clearance(verdict, released), Clearance::Readable);
        }
    }

    #[test]
    fn nothing_is_readable_before_a_required_scan(rules in policies(), released: bool) {
        let required = ScanRules { policy: ScanPolicy::Require, ..rules };
        prop_assert_eq!(required.clearance(None, released), Clearance::Waiting);
        let infected = required.clearance(Some(Verdict::Infected), false);
        prop_assert_eq!(infected, Clearance::Infected);
    }
}
