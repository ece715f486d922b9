// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the operations work on: one per mount, handed to libfuse as its user data. Lives as long as
// the session; everything in it is thread-safe or constant while requests are served.
#pragma once

#include <fuse_lowlevel.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "config/options.h"
#include "passthrough/open_files.h"
#include "session/branch_locks.h"
#include "session/features.h"
#include "session/housekeeper.h"
#include "session/listers.h"
#include "session/lock_waiters.h"
#include "session/restarts.h"
#include "session/ring_loop.h"
#include "session/statistics.h"
#include "union/union.h"

namespace plyfs::session {

struct Context {
    Union& united;
    passthrough::OpenFiles& open_files;
    Housekeeper& housekeeper;
    BranchLocks& locks;
    LockWaiters& waiters;
    const config::Options& options;
    Statistics& statistics;
    Restarts& restarts;
    Listers listers{};
    fuse_session* session = nullptr;
    // Requests come through rings, all but FORGET and INTERRUPT.
    bool rings = false;
    // Random per mount: a node id means another node after the next mount (file handles of
    // open_by_handle_at and NFS carry both).
    std::uint64_t generation = 0;
    double entry_timeout = 0;  // seconds, as libfuse takes them
    double negative_timeout = 0;
    double attribute_timeout = 0;
    // The kernel takes backings: set once, while INIT is answered.
    bool passthrough = false;
    // It moves open files to another backing, so that readers who follow pass through: likewise.
    bool rebinds = false;
    // It opens files by itself by what is attached to them: likewise.
    bool attaches = false;
    // Writers of one file that are passed through need not take turns: likewise.
    bool parallel_writes = false;
    // An open may go by the backing that the inode has, or by another id of the same file:
    // likewise.
    bool reuses = false;
    // Set at the same time.
    NegotiatedKernel kernel{};
};

inline Context& context_of(fuse_req_t request) {
    return *static_cast<Context*>(fuse_req_userdata(request));
}

// What the kernel says in a request and libfuse does not hand on.
struct RequestExtras {
    // With CREATE, MKDIR, MKNOD, SYMLINK and TMPFILE in a setgid directory: its group, if the
    // caller is a member by a supplementary group (FUSE_EXT_GROUPS).
    std::optional<gid_t> supplementary_group;
    // With OPEN and O_TRUNC: the caller may not keep SUID and SGID (FUSE_OPEN_KILL_SUIDGID).
    bool kill_set_id = false;
    // With OPEN: the kernel has the file open, and wants a handle (FUSE_OPEN_HANDLE).
    bool handle_only = false;
};

// Of the request that this thread is serving.
const RequestExtras& current_extras() noexcept;

}  // namespace plyfs::session
