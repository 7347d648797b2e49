//! Subjects of events. A subject names the aggregate of an event, and determines the partition whose stream holds the
//! event.

use crate::{CompanyId, LinkId, SessionId, Sha256Digest, ShareId, TokenId, UploadId};
use std::fmt;
use std::str::FromStr;

/// Number of partitions. It cannot change after the streams were created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions(u32);

impl Partitions {
    /// Returns `count` partitions, or `None` if `count` is 0 or more than 1,024.
    pub fn new(count: u32) -> Option<Self> {
        (1..=1024).contains(&count).then_some(Self(count))
    }

    /// Returns the number of partitions.
    pub fn count(self) -> u32 {
        self.0
    }

    /// Returns the numbers of all partitions, from 0.
    pub fn all(self) -> std::ops::Range<u32> {
        0..self.0
    }

    /// Returns the partition of a company: FNV-1a (32 bit) of the text of the id, modulo the number of partitions.
    pub fn of(self, company: CompanyId) -> u32 {
        fnv1a32(company.to_string().as_bytes()) % self.0
    }
}

fn fnv1a32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Entity of an event, within its company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entity {
    /// `upload.{id}.lc`: an upload from its start to its end.
    UploadLifecycle(UploadId),
    /// `upload.{id}.ch`: the stored bytes of an upload, in the order in which they were stored.
    UploadChunks(UploadId),
    /// `file.{id}`: a verified file.
    File(UploadId),
    /// `session.{id}`: an upload session.
    Session(SessionId),
    /// `quota`: the limit, the reservations and the used bytes of a company.
    Quota,
    /// `share.{id}`: an association of a file with a chatroom or thread.
    Share(ShareId),
    /// `token.{id}`: a download token.
    Token(TokenId),
    /// `token.{id}.dl`: the downloads with a token that has no limit of downloads. No decision depends on these events.
    TokenDownloads(TokenId),
    /// `content.{sha256}`: an object that several files of the company refer to.
    Content(Sha256Digest),
    /// `link.{id}`: an upload link.
    Link(LinkId),
    /// `directory`: the company with its users, chatrooms, threads and memberships.
    Directory,
}

/// Subject without wildcards: one aggregate of one company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The company.
    pub company: CompanyId,
    /// The aggregate.
    pub aggregate: Entity,
}

impl Subject {
    /// Returns the subject of `aggregate` in `company`.
    pub fn new(company: CompanyId, aggregate: Entity) -> Self {
        Self { company, aggregate }
    }

    /// Returns the NATS subject, which contains the partition.
    pub fn to_nats(self, partitions: Partitions) -> String {
        format!("evt.{}.{self}", partitions.of(self.company))
    }

    /// Parses a NATS subject.
    ///
    /// # Errors
    /// [`SubjectError`] if the text does not have the form `evt.{p}.{company}.…` with a known aggregate.
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        parse(text).ok_or_else(|| SubjectError { subject: text.to_owned() })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.company)?;
        match self.aggregate {
            Entity::UploadLifecycle(id) => write!(f, "upload.{id}.lc"),
            Entity::UploadChunks(id) => write!(f, "upload.{id}.ch"),
            Entity::File(id) => write!(f, "file.{id}"),
            Entity::Session(id) => write!(f, "session.{id}"),
            Entity::Quota => f.write_str("quota"),
            Entity::Share(id) => write!(f, "share.{id}"),
            Entity::Token(id) => write!(f, "token.{id}"),
            Entity::TokenDownloads(id) => write!(f, "token.{id}.dl"),
            Entity::Content(sha256) => write!(f, "content.{sha256}"),
            Entity::Link(id) => write!(f, "link.{id}"),
            Entity::Directory => f.write_str("directory"),
        }
    }
}

/// Error for a text that is not the subject of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a subject of an event: {subject}")]
pub struct SubjectError {
    /// The text.
    pub subject: String,
}

fn parse(text: &str) -> Option<Subject> {
    let mut tokens = text.split('.');
    if tokens.next()? != "evt" || tokens.next()?.parse::<u32>().is_err() {
        return None;
    }
    let company = parse_id(tokens.next()?)?;
    let rest: Vec<&str> = tokens.collect();
    let aggregate = match rest.as_slice() {
        ["upload", id, "lc"] => Entity::UploadLifecycle(parse_id(id)?),
        ["upload", id, "ch"] => Entity::UploadChunks(parse_id(id)?),
        ["file", id] => Entity::File(parse_id(id)?),
        ["session", id] => Entity::Session(parse_id(id)?),
        ["quota"] => Entity::Quota,
        ["share", id] => Entity::Share(parse_id(id)?),
        ["token", id] => Entity::Token(parse_id(id)?),
        ["token", id, "dl"] => Entity::TokenDownloads(parse_id(id)?),
        ["content", sha256] => Entity::Content(parse_id(sha256)?),
        ["link", id] => Entity::Link(parse_id(id)?),
        ["directory"] => Entity::Directory,
        _ => return None,
    };
    Some(Subject { company, aggregate })
}

fn parse_id<T: FromStr>(token: &str) -> Option<T> {
    token.parse().ok()
}
