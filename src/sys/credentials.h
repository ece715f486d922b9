// SPDX-License-Identifier: GPL-2.0-or-later
//
// Credentials of one thread (Linux keeps them per thread; the raw system calls are used, since
// libc's wrappers change all threads). Creations act with the caller's ids so that ownership,
// setgid directories, default ACLs, umask and quota come out as on the branch's file system;
// everything else acts as the daemon.
#pragma once

#include <sys/types.h>

#include <optional>

#include "sys/result.h"

namespace plyfs::sys {

// Who asked for a creation.
struct Caller {
    uid_t uid = 0;
    gid_t gid = 0;
    mode_t umask = 0;
    // The one supplementary group that matters: the caller is a member of the setgid parent
    // directory's group (FUSE_CREATE_SUPP_GROUP).
    std::optional<gid_t> supplementary_group;
};

// Whom the process acts as: geteuid(2).
uid_t effective_user();

// Prepares the calling thread to serve, once, before its first request: a umask of its own
// (unshare(CLONE_FS)), no capability lost by changing the file system ids
// (SECBIT_NO_SETUID_FIXUP), CAP_FSETID and CAP_SYS_RESOURCE out of the effective set, so that the
// branch's file system clears SUID and SGID and keeps its reserved blocks as for the user.
// Without privilege (not root) what can't be had is left as it is.
// EPERM never; other errnos of unshare(2) and capset(2).
Result<void> prepare_serving_thread();

// Acts as the caller from here to the end of the scope, on this thread: fsuid, fsgid, one
// supplementary group, umask. Must not outlive the request nor nest.
class ActAs {
public:
    explicit ActAs(const Caller& caller);
    ~ActAs();
    ActAs(const ActAs&) = delete;
    ActAs& operator=(const ActAs&) = delete;

private:
    bool changed_ids_ = false;
    bool changed_groups_ = false;
    bool changed_umask_ = false;
};

// CAP_FSETID from here to the end of the scope, on this thread: chmod(2) keeps SGID whatever the
// group, and a truncation by who may keep SUID keeps it.
class KeepSetId {
public:
    explicit KeepSetId(bool wanted);
    ~KeepSetId();
    KeepSetId(const KeepSetId&) = delete;
    KeepSetId& operator=(const KeepSetId&) = delete;

private:
    bool raised_ = false;
};

// fsuid 65534 from here to the end of the scope: a passthrough backing is registered with the
// rights of the thread that registers it, and its I/O runs with them for ever
// (fuse_backing_open, fs/fuse/backing.c: prepare_creds()).
class ActAsNobody {
public:
    ActAsNobody();
    ~ActAsNobody();
    ActAsNobody(const ActAsNobody&) = delete;
    ActAsNobody& operator=(const ActAsNobody&) = delete;
};

}  // namespace plyfs::sys
