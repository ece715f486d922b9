// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flags of FUSE_INIT as one set of bits. Linux allocates bits 0 to 63, which are in `flags` and
// `flags2`. Those of kernel/patches are allocated by nobody, and another kernel may use the same
// bits for something else: they are in a word of their own, beside a magic number that says what
// they mean (patch 8).
#pragma once

#include <linux/fuse.h>

#include <cstdint>

namespace plyfs::session {

// Bits 50 to 54, with the meaning that kernel/patches give them, whatever flags2 has there.
inline constexpr std::uint64_t kProvisionalInitFlags = std::uint64_t{0x1f} << 50;

// What the kernel offers: provisional flags only if their magic number is there.
std::uint64_t offered_init_flags(const fuse_init_in& init) noexcept;

// Adds flags that the kernel offers to an answer.
void add_init_flags(fuse_init_out& init, std::uint64_t flags) noexcept;

}  // namespace plyfs::session
