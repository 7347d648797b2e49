//! Gives up the rights of the process, so that a decoder that is taken over by a malicious file can do nothing.
//!
//! Resource limits bound memory, CPU time and files. Landlock denies all paths, all network ports, and signals to other
//! processes. seccomp ends the process at any system call that a decoder does not need: opening a file, a socket, another
//! process or thread, or memory with executable code.
//!
//! A program of the operator needs more: it can read and run what is in the folders of programs, and have threads. It cannot
//! write a file, and ends if it opens a socket, starts another process, or looks into one.

use crate::limits::{CPU_TIME_MAX, MEMORY_MAX_BYTES, PROGRAM_MEMORY_MAX_BYTES};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, nice, set_dumpable_behavior, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Flag of a mapping without a file (mmap(2)).
const MAP_ANONYMOUS: u64 = libc::MAP_ANONYMOUS.unsigned_abs() as u64;
/// Lowest priority of a process (nice(2)).
const LEAST_PRIORITY: i32 = 19;
/// Standard input, output and error are open.
const DESCRIPTORS_MAX: u64 = 3;
/// Folders that a program of the operator can read, and run programs from.
const PROGRAM_FOLDERS: &[&str] = &["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives"];

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
    prefer_this_process_to_be_ended();
    // No other process of the user may look into this one, and no handler of crashes gets the file.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    restrict_paths(strictness, &[])?;
    // Landlock needs a file descriptor, which the limits do not allow any more.
    let files = [(Resource::Nofile, DESCRIPTORS_MAX), (Resource::Nproc, 0)];
    limit_resources(MEMORY_MAX_BYTES, &files)?;
    allow_only_what_a_decoder_needs()
}

/// Gives up the rights that a program of the operator, and not a decoder of Waybill, does not need. The process must have
/// only one thread.
///
/// # Errors
/// [`SandboxError`]. Some rights may be gone already.
pub fn enter_for(program: &Path, strictness: Strictness) -> Result<(), SandboxError> {
    let own = program.parent().into_iter();
    prefer_this_process_to_be_ended();
    let readable: Vec<&Path> = PROGRAM_FOLDERS.iter().map(Path::new).chain(own).collect();
    restrict_paths(strictness, &readable)?;
    limit_resources(PROGRAM_MEMORY_MAX_BYTES, &[])?;
    forbid_what_no_program_needs()
}

/// Has the kernel end this process before others if there is not enough memory. It may not be able to.
fn prefer_this_process_to_be_ended() {
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
}

fn limit_resources(memory_max_bytes: u64, more: &[(Resource, u64)]) -> Result<(), SandboxError> {
    // The signal at the soft limit of the CPU time (SIGXCPU) has no other reason. At the hard limit it is SIGKILL.
    let seconds = CPU_TIME_MAX.as_secs();
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds + 1) })?;
    for (resource, limit) in [(Resource::As, memory_max_bytes), (Resource::Core, 0)].iter().chain(more).copied() {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    // Verifications on the same machine must not wait for previews.
    nice(LEAST_PRIORITY)?;
    Ok(())
}

/// Denies all paths but those below `readable`, all ports, and signals to other processes.
fn restrict_paths(strictness: Strictness, readable: &[&Path]) -> Result<(), SandboxError> {
    let newest = ABI::V6;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?;
    let rules = path_beneath_rules(readable, AccessFs::from_read(newest));
    let status = ruleset.create()?.add_rules(rules)?.restrict_self()?;
    // Older kernels do not know all rights. seccomp denies the rest of them.
    match (status.ruleset, strictness) {
        (RulesetStatus::NotEnforced, Strictness::Required) => Err(SandboxError::NoLandlock),
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced, _) => Ok(()),
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Returns a condition on the argument at `index` of a system call.
fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, SandboxError> {
    Ok(SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)?)
}

/// Returns the rule for calls that meet all conditions.
fn if_all(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, SandboxError> {
    Ok(SeccompRule::new(conditions)?)
}

/// Installs a filter of system calls: `matching` for those in `rules`, and `other` for the rest.
fn filter(rules: Rules, matching: SeccompAction, other: SeccompAction) -> Result<(), SandboxError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram = SeccompFilter::new(rules, other, matching, arch)?.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}

fn allow_only_what_a_decoder_needs() -> Result<(), SandboxError> {
    let always = [
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
    let mut rules: Rules = always.into_iter().map(|call| (call, Vec::new())).collect();
    // Other descriptors that the process may have inherited are of no use.
    let descriptor = |number: u64| if_all(vec![argument(0, SeccompCmpOp::Eq, number)?]);
    rules.insert(libc::SYS_read, vec![descriptor(0)?]);
    rules.insert(libc::SYS_write, vec![descriptor(1)?, descriptor(2)?]);
    rules.insert(libc::SYS_writev, vec![descriptor(1)?, descriptor(2)?]);
    let not_executable = || argument(2, SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.unsigned_abs())), 0);
    let anonymous = argument(3, SeccompCmpOp::MaskedEq(MAP_ANONYMOUS), MAP_ANONYMOUS)?;
    rules.insert(libc::SYS_mmap, vec![if_all(vec![not_executable()?, anonymous])?]);
    rules.insert(libc::SYS_mprotect, vec![if_all(vec![not_executable()?])?]);
    // abort() sends a signal to its own process.
    let own = argument(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?;
    rules.insert(libc::SYS_tgkill, vec![if_all(vec![own])?]);
    filter(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

fn forbid_what_no_program_needs() -> Result<(), SandboxError> {
    let never = [
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept4,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_memfd_create,
        libc::SYS_setpriority,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
    ];
    let mut rules: Rules = never.into_iter().map(|call| (call, Vec::new())).collect();
    // A new thread, but no new process.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![if_all(vec![argument(0, SeccompCmpOp::MaskedEq(thread), 0)?])?]);
    // A filter cannot look into the arguments of clone3. Without it, the C library uses clone.
    let newer: Rules = [(libc::SYS_clone3, Vec::new())].into();
    filter(newer, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()), SeccompAction::Allow)?;
    filter(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}
