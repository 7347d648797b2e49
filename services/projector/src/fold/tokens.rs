//! Folds token events into `download_token`.

use super::convert::{small, time_of};
use super::misfit::Misfit;
use super::tables::Tables;
use waybill_read_model::rows::DownloadTokenRow;
use waybill_schema::events::TokenEvent;
use waybill_schema::{Recorded, TokenId};

pub(super) fn fold(tables: &mut Tables, id: TokenId, event: &TokenEvent, recorded: &Recorded) -> Result<(), Misfit> {
    let time = time_of(recorded.envelope.time);
    match event {
        TokenEvent::DownloadTokenIssued(issued) => {
            let added = tables.tokens.add(DownloadTokenRow {
                id: id.0,
                company_id: recorded.subject.company.0,
                file_id: issued.file_id.0,
                user_id: issued.user_id.0,
                token: issued.token_sha256.to_string(),
                expires_at: time_of(issued.expires_at),
                download_count: 0,
                max_downloads: issued.max_downloads.map(small),
                ip_address: None,
                user_agent: None,
                created_at: time,
                last_used_at: None,
                revoked_at: None,
            });
            return if added { Ok(()) } else { Err(Misfit(format!("token {id} was issued twice"))) };
        }
        // The row of a token may be deleted while a download runs or begins. Such a download is not counted.
        TokenEvent::DownloadTokenRedeemed(_)
        | TokenEvent::DownloadTokenContinued(_)
        | TokenEvent::DownloadTokenServed(_)
            if tables.tokens.get(id.0).is_none() => {}
        TokenEvent::DownloadTokenRedeemed(redeemed) => {
            let token = tables.tokens.change(id.0)?;
            token.download_count += i32::from(redeemed.request.is_nil());
            token.ip_address = Some(redeemed.ip_address);
            token.user_agent.clone_from(&redeemed.user_agent);
            token.last_used_at = Some(time);
        }
        TokenEvent::DownloadTokenContinued(_) => tables.tokens.change(id.0)?.last_used_at = Some(time),
        TokenEvent::DownloadTokenServed(served) => {
            tables.tokens.change(id.0)?.download_count += i32::from(served.is_delivered);
        }
        TokenEvent::DownloadTokenExpired(_) => tables.tokens.remove(id.0)?,
        TokenEvent::DownloadTokenRevoked(_) => tables.tokens.change(id.0)?.revoked_at = Some(time),
    }
    Ok(())
}
