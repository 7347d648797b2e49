//! Tests of shares that rest on another share.

use crate::given::NOW;
use std::collections::BTreeMap;
use uuid::Uuid;
use waybill_domain::access::*;
use waybill_domain::scan::{ScanRules, Scans};
use waybill_schema::*;

const ANNA: UserId = UserId(Uuid::from_u128(1));
const BEN: UserId = UserId(Uuid::from_u128(2));
const CARL: UserId = UserId(Uuid::from_u128(3));
const ROOM: ChatroomId = ChatroomId(Uuid::from_u128(4));
const THREAD: ThreadId = ThreadId(Uuid::from_u128(5));

fn id(number: u128) -> ShareId {
    ShareId(Uuid::from_u128(number))
}

fn permissions(grants: &[Grant]) -> Option<Permissions> {
    Some(Permissions { everyone: Some(grants.to_vec()), ..Permissions::default() })
}

fn share(number: u128, parent: Option<u128>) -> ShareFacts {
    ShareFacts {
        id: id(number),
        chatroom_id: parent.is_none().then_some(ROOM),
        thread_id: parent.map(|_| THREAD),
        shared_by: if parent.is_none() { ANNA } else { BEN },
        parent: parent.map(id),
        access_type: AccessType::Private,
        permissions: permissions(&[Grant::View, Grant::Download, Grant::Share]),
        expires_at: None,
        ended: false,
    }
}

/// Returns the facts for Carl, who is a member of the thread. Ben is a member of the room and of the thread.
fn facts(shares: impl IntoIterator<Item = ShareFacts>) -> FileFacts {
    let ben = Author { places: [Place::Chatroom(ROOM), Place::Thread(THREAD)].into(), is_removed: false };
    FileFacts {
        file_id: UploadId(Uuid::from_u128(9)),
        uploaded_by: ANNA,
        is_verified: true,
        is_deleted: false,
        is_purged: false,
        scans: Scans::default(),
        scan_rules: ScanRules::default(),
        location_policy: LocationPolicy::Off,
        shares: shares.into_iter().map(|share| (share.id, share)).collect(),
        members: Memberships { places: [Place::Thread(THREAD)].into(), around: BTreeMap::new() },
        authors: [(BEN, ben)].into(),
    }
}

fn may(facts: &FileFacts, operation: Operation) -> bool {
    facts.check(Viewer { user_id: CARL, is_admin: false }, operation, NOW).is_ok()
}

#[test]
fn a_share_is_live_while_all_that_it_rests_on_are_and_let_its_author_share() {
    let parent = |change: &dyn Fn(&mut ShareFacts)| {
        let mut parent = share(1, None);
        change(&mut parent);
        facts([parent, share(2, Some(1)), share(3, Some(2))])
    };
    assert!(may(&parent(&|_| {}), Operation::Download));
    assert!(!may(&parent(&|parent| parent.ended = true), Operation::View));
    assert!(!may(&parent(&|parent| parent.expires_at = Some(NOW)), Operation::View));
    assert!(!may(&parent(&|parent| parent.permissions = None), Operation::View));
    let viewable = parent(&|parent| parent.permissions = permissions(&[Grant::View, Grant::Share]));
    assert!(may(&viewable, Operation::View) && !may(&viewable, Operation::Download));
    let mut gone = parent(&|_| {});
    gone.authors.clear();
    assert!(!may(&gone, Operation::View));
    let orphan = facts([share(2, Some(1))]);
    assert!(!may(&orphan, Operation::View) && orphan.has_ended(&orphan.shares[&id(2)]));
}

#[test]
fn a_share_reaches_nobody_that_one_below_it_may_not_reach() {
    let mut named = share(1, None);
    named.access_type = AccessType::Restricted;
    let grants = vec![Grant::View, Grant::Share];
    named.permissions = Some(Permissions { everyone: None, users: [(BEN, grants)].into() });
    let mut public = share(2, Some(1));
    public.access_type = AccessType::Public;
    assert!(!may(&facts([named.clone(), public.clone()]), Operation::View));
    if let Some(permissions) = &mut named.permissions {
        permissions.users.insert(CARL, vec![Grant::View]);
    }
    assert!(may(&facts([named, public.clone()]), Operation::View));
    // A public share that rests on one for the members of a place is for the members of its own place.
    let mut outside = facts([share(1, None), public]);
    assert!(may(&outside, Operation::View));
    outside.members = Memberships::default();
    assert!(!may(&outside, Operation::View));
}

#[test]
fn shares_that_rest_on_each_other_give_nothing() {
    assert!(!may(&facts([share(1, Some(2)), share(2, Some(1))]), Operation::View));
    let long = (1..=30).map(|number| share(number, (number > 1).then_some(number - 1)));
    let facts = facts(long.skip(1));
    assert!(!may(&facts, Operation::View));
}

#[test]
fn a_new_share_rests_on_the_one_that_lasts_longest_and_ends_with_it() {
    let mut brief = share(1, None);
    brief.expires_at = Some(NOW.plus_ms(1_000));
    let mut longer = share(2, None);
    longer.expires_at = Some(NOW.plus_ms(2_000));
    let mut facts = facts([brief, longer]);
    facts.members.places.insert(Place::Chatroom(ROOM));
    let carl = Viewer { user_id: CARL, is_admin: false };
    let terms = Terms { access_type: AccessType::Private, permissions: None, expires_at: None };
    let end = Some(NOW.plus_ms(2_000));
    let rests = Ok(Permitted { basis: ShareBasis::Share(id(2)), expires_at: end });
    assert_eq!(facts.permit(carl, terms, NOW), rests);
    let wider =
        [Terms { access_type: AccessType::Public, ..terms }, Terms { expires_at: Some(NOW.plus_ms(2_001)), ..terms }];
    for wider in wider {
        assert_eq!(facts.permit(carl, wider, NOW), Err(Denied::Wider));
        let own = Permitted { basis: ShareBasis::Uploader, expires_at: wider.expires_at };
        assert_eq!(facts.permit(Viewer { user_id: ANNA, is_admin: false }, wider, NOW), Ok(own));
    }
    let manage = permissions(&[Grant::Manage]);
    let more = Terms { permissions: manage.as_ref(), ..terms };
    assert_eq!(facts.permit(carl, more, NOW), Err(Denied::Forbidden));
}
