// SPDX-License-Identifier: GPL-2.0-or-later
//
// Readers of a read-only branch's file that keep what they opened (`readers: snapshot`). The kernel
// binds an inode that is open to one content; so once the copy of such a file is about to change,
// its names go to a successor, another node for the copy, and the old node keeps its readers. As
// long as there are any, it is the file as it was; after that it stands for its successor.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstddef>

#include "sys/attributes.h"
#include "sys/unique_fd.h"
#include "union/branch.h"

namespace plyfs {

// What they read: shared by their handles, gone with the last.
struct Snapshot {
    RealId real;
    BranchIndex branch;
    UniqueFd object;
};

// The threads that were told to look a path up again (ESTALE). A path leads to the successor then,
// but /proc/self/fd, a mount of the single file and a file handle lead here again, at once: whoever
// comes twice has come by one of these. Not thread-safe.
class TurnedAway {
public:
    using Clock = std::chrono::steady_clock;

    // True: `thread` is to be turned away; false: it was, a moment before.
    bool turn_away(pid_t thread, Clock::time_point now) noexcept {
        for (Visitor& visitor : visitors_) {
            if (visitor.thread != thread || now - visitor.when > kMoment) continue;
            visitor = {};
            return false;
        }
        visitors_[next_++ % visitors_.size()] = {thread, now};
        return true;
    }

    // `thread` came to where it was sent: when it comes back it has come by another name.
    void arrived(pid_t thread) noexcept {
        for (Visitor& visitor : visitors_) {
            if (visitor.thread == thread) visitor = {};
        }
    }

private:
    // The VFS tries again within the same system call.
    static constexpr std::chrono::seconds kMoment{2};
    struct Visitor {
        pid_t thread = -1;
        Clock::time_point when;
    };
    std::array<Visitor, 32> visitors_;
    std::size_t next_ = 0;
};

}  // namespace plyfs
