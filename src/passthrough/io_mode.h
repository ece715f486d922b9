// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which way an open file's data goes: the decision alone, a pure function.
#pragma once

#include <cstdint>
#include <optional>

#include "sys/attributes.h"

namespace plyfs::passthrough {

// The mode that the kernel gives a FUSE inode while it is open (fs/fuse/iomode.c). Cached and
// Passthrough exclude each other; the kernel answers a second open in the other mode, or in
// passthrough with another backing id, with EIO.
enum class IoMode : std::uint8_t {
    Cached,       // through the daemon and the page cache of the FUSE inode
    Passthrough,  // in the kernel, to the backing file
};

// How a node that is open now was opened.
struct OpenState {
    IoMode mode = IoMode::Cached;
    RealId real;  // the backing inode
};

enum class Decision : std::uint8_t {
    Register,  // nothing is open in a way that hinders it: register a backing, pass through
    Share,     // pass through by the backing id that is there
    Cached,    // through the daemon
    Stale,     // the node is held on another inode: the VFS must look the name up anew (ESTALE)
};

// `state`: none where the node is not open. `real`: the inode that is being opened. `wanted`:
// passthrough is on and the kernel takes backings.
constexpr Decision decide(const std::optional<OpenState>& state, const RealId& real, bool wanted) {
    if (!state) return wanted ? Decision::Register : Decision::Cached;
    if (state->mode == IoMode::Cached) return Decision::Cached;
    // The same-backing-inode check: equal inodes are one file, whatever the descriptors.
    return state->real == real ? Decision::Share : Decision::Stale;
}

}  // namespace plyfs::passthrough
