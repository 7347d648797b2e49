//! Checks of what a user may see and do.

use crate::application::gateway::Gateway;
use crate::application::registration::look_at_directory;
use crate::http::problems::OrProblem;
use waybill_access::Wanted;
use waybill_domain::access::{Denied, Viewer};
use waybill_http_kit::{Principal, Problem, Role};
use waybill_schema::ErrorCode;
use waybill_schema::{ChatroomId, Place, ThreadId};

/// Seconds after which a client tries again to read a file that is not scanned yet.
const SCAN_RETRY_S: u32 = 2;

impl Gateway {
    /// Checks that the principal may upload to or share in a chatroom, a thread, or a thread together with its
    /// chatroom.
    ///
    /// # Errors
    /// 404 if a place does not exist, or the principal is neither a member nor an admin; the two cases look the same.
    /// Also 404 if the thread does not belong to the chatroom.
    pub(crate) async fn check_place(
        &self,
        principal: &Principal,
        chatroom: Option<ChatroomId>,
        thread: Option<ThreadId>,
    ) -> Result<(), Problem> {
        let places: Vec<Place> = chatroom.map(Place::Chatroom).into_iter().chain(thread.map(Place::Thread)).collect();
        if places.is_empty() {
            return Ok(());
        }
        let (company, viewer) = (principal.company_id, viewer(principal));
        let wanted = Wanted {
            chatrooms: chatroom.into_iter().collect(),
            threads: thread.into_iter().collect(),
            ..Wanted::default()
        };
        let mut connection = self.database.connection().await.or_problem("connecting for a query")?;
        let known =
            self.access.look(&mut connection, company, viewer.user_id, &wanted).await.or_problem("checking access")?;
        drop(connection);
        let theirs = |place: Place| known.places.contains(&place) && (viewer.is_admin || known.is_member(place));
        let around = thread.and_then(|thread| known.chatroom_of(thread));
        let fits = |around: Option<ChatroomId>| thread.is_none() || chatroom.is_none() || around == chatroom;
        if fits(around) && places.iter().all(|place| theirs(*place)) {
            return Ok(());
        }
        // The read model may not have recent changes of the directory yet. The log has them.
        let missing = |directory: &waybill_domain::directory::State| {
            let theirs = |place: Place| match viewer.is_admin {
                true => directory.is_place(place),
                false => directory.is_active(viewer.user_id) && directory.is_member(place, viewer.user_id),
            };
            if !fits(thread.and_then(|thread| directory.chatroom_of(thread))) {
                return thread.map(Place::Thread);
            }
            places.iter().copied().find(|place| !theirs(*place))
        };
        match look_at_directory(&self.directories, company, missing).await? {
            None => Ok(()),
            Some(Place::Chatroom(_)) => Err(Problem::not_found("chatroom")),
            Some(Place::Thread(_)) => Err(Problem::not_found("thread")),
        }
    }
}

/// Converts a principal for the access rules.
pub(crate) fn viewer(principal: &Principal) -> Viewer {
    Viewer { user_id: principal.user_id, is_admin: principal.roles.contains(&Role::Admin) }
}

/// Converts a denial of the access rules: 404 if the caller may not know about the object, and 403 otherwise.
pub(crate) fn denied(denied: Denied, what: &str) -> Problem {
    match denied {
        Denied::Hidden => Problem::not_found(what),
        Denied::Forbidden => Problem::new(
            403,
            ErrorCode::NotPermitted,
            "you may see this file, but you have no permission for this action",
        ),
        Denied::NotScanned => {
            let text = "the company requires a virus scan, and the file is not scanned yet; try again later";
            Problem { retry_after_s: Some(SCAN_RETRY_S), ..Problem::new(409, ErrorCode::FileNotReady, text) }
        }
        Denied::Infected => {
            let text = "the virus scanner found something in the file; only an administrator can release it";
            Problem::new(403, ErrorCode::FileInfected, text)
        }
        Denied::Unscanned => {
            let text = "the file could not be scanned for viruses completely; only an administrator can release it";
            Problem::new(403, ErrorCode::FileUnscanned, text)
        }
        Denied::Wider => Problem::new(
            403,
            ErrorCode::NotPermitted,
            "the association would reach more people, or last longer, than you may allow; choose a narrower \
             access_type, users that may see the file already and an earlier expires_at, or ask the uploader",
        ),
    }
}
