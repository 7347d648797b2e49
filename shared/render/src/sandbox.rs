//! Gives up the rights of the process, so that a decoder that is taken over by a malicious file can do nothing.
//!
//! Resource limits bound memory, CPU time and files. Landlock denies all paths, all network ports, and signals to other
//! processes. seccomp ends the process at any system call that a decoder does not need: opening a file, a socket, another
//! process or thread, or memory with executable code.

use crate::limits::{CPU_TIME_MAX, MEMORY_MAX_BYTES};
use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

/// Reaction to a kernel without Landlock, which exists since Linux 5.13.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// The process ends.
    #[default]
    Required,
    /// The process continues with resource limits and seccomp.
    BestEffort,
}

/// The process cannot give up its rights.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A resource limit was refused.
    #[error("cannot set a resource limit: {0}")]
    Limit(#[from] rustix::io::Errno),
    /// The kernel has no Landlock, or it is turned off.
    #[error("the kernel has no Landlock, or does not allow it (Linux 5.13 or later has it)")]
    NoLandlock,
    /// Landlock was refused.
    #[error("cannot restrict the process with Landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// seccomp was refused.
    #[error("cannot filter system calls: {0}")]
    Seccomp(String),
}

impl From<seccompiler::BackendError> for SandboxError {
    fn from(error: seccompiler::BackendError) -> Self {
        Self::Seccomp(error.to_string())
    }
}

impl From<seccompiler::Error> for SandboxError {
    fn from(error: seccompiler::Error) -> Self {
        Self::Seccomp(error.to_string())
    }
}

/// Gives up the rights of this process. The process must have only one thread.
///
/// # Errors
/// [`SandboxError`]. Some rights may be gone already.
pub fn enter(strictness: Strictness) -> Result<(), SandboxError> {
    restrict_paths(strictness)?;
    // Landlock needs a file descriptor, which the limits do not allow any more.
    limit_resources()?;
    filter_system_calls()
}

fn limit_resources() -> Result<(), SandboxError> {
    let limits = [
        (Resource::As, MEMORY_MAX_BYTES),
        (Resource::Cpu, CPU_TIME_MAX.as_secs()),
        (Resource::Core, 0),
        // Standard input, output and error are open.
        (Resource::Nofile, 3),
        (Resource::Nproc, 0),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

fn restrict_paths(strictness: Strictness) -> Result<(), SandboxError> {
    let newest = ABI::V6;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?;
    let status = ruleset.create()?.restrict_self()?;
    // Older kernels do not know all rights. seccomp denies the rest of them.
    match (status.ruleset, strictness) {
        (RulesetStatus::NotEnforced, Strictness::Required) => Err(SandboxError::NoLandlock),
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced, _) => Ok(()),
    }
}

/// Returns a condition on the argument at `index` of a system call.
fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<Vec<SeccompRule>, SandboxError> {
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)?;
    Ok(vec![SeccompRule::new(vec![condition])?])
}

fn filter_system_calls() -> Result<(), SandboxError> {
    let always = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_brk,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_sched_yield,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = always.into_iter().map(|call| (call, Vec::new())).collect();
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, argument(2, SeccompCmpOp::MaskedEq(executable), 0)?);
    }
    // abort() sends a signal to its own process.
    rules.insert(libc::SYS_tgkill, argument(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?);
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
