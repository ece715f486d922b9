// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which way an open file's data goes: the decision alone, a pure function.
#pragma once

#include <cstdint>
#include <optional>

#include "sys/attributes.h"

namespace plyfs::passthrough {

// The kernel gives a FUSE inode one mode while it is open (fs/fuse/iomode.c). Cached and
// Passthrough exclude each other; the kernel answers a second open in the other mode, or in
// passthrough with another backing id, with EIO. Direct is none of the two to it: it goes with
// Cached, and with nothing, but not beside Passthrough.
enum class IoMode : std::uint8_t {
    Cached,       // through the daemon and the page cache of the FUSE inode
    Direct,       // through the daemon, past the page cache; can't be mapped shared
    Passthrough,  // in the kernel, to the backing file
};

// How a node that is open now was opened.
struct OpenState {
    IoMode mode = IoMode::Cached;
    RealId real;  // the backing inode
    // It is a file whose readers follow its copy, and the kernel can rebind them to that.
    bool follows = false;
};

enum class Decision : std::uint8_t {
    Register,  // nothing is open in a way that hinders it: register a backing, pass through
    Share,     // pass through by the backing id that is there
    Move,      // rebind that id, and with it what is open, to the inode that is being opened
    Cached,    // through the daemon
    Direct,    // through the daemon, past the page cache
    Busy,      // it must not be passed through, but is already (ETXTBSY)
    Stale,     // the node is held on another inode: the VFS must look the name up anew (ESTALE)
};

// `state`: none where the node is not open. `passed`: the node was passed through before, since
// the kernel knows it: mappings that outlive their descriptors may be left, of pages that cached
// I/O would not see. `real`: the inode that is being opened. `wanted`: how it is best opened;
// Direct: so and not otherwise. `passable`: it may be passed through. `copied`: `real` may be the
// copy of what is open.
constexpr Decision decide(const std::optional<OpenState>& state, bool passed, const RealId& real,
                          IoMode wanted, bool passable = true, bool copied = false) {
    if (state && state->mode == IoMode::Passthrough) {
        // The same-backing-inode check: equal inodes are one file, whatever the descriptors.
        if (state->real != real) {
            return state->follows && copied ? Decision::Move : Decision::Stale;
        }
        return wanted == IoMode::Direct ? Decision::Busy : Decision::Share;
    }
    if (wanted == IoMode::Direct) return Decision::Direct;
    if (state && state->mode == IoMode::Cached) return Decision::Cached;
    if (wanted == IoMode::Cached && !passed) return Decision::Cached;
    return passable ? Decision::Register : Decision::Direct;
}

}  // namespace plyfs::passthrough
