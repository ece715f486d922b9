// SPDX-License-Identifier: GPL-2.0-or-later
//
// overlay.metacopy: a regular file that was copied up without its data, which are still those of
// the next copy below (of its redirect, where it has one). Its size is that of the data, all hole.
//
// On disk either empty, or (overlayfs: struct ovl_metacopy)
//   byte 0  version, 0
//        1  length of the whole value
//        2  flags, 0 so far
//        3  algorithm of the fs-verity digest of the data, FS_VERITY_HASH_ALG_*; 0: no digest
//        4  the digest
//
// Functions and plain values: thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "format/marks.h"
#include "sys/result.h"

namespace plyfs::format {

inline constexpr std::size_t kLongestDigest = 64;  // bytes; FS_VERITY_MAX_DIGEST_SIZE

struct Metacopy {
    std::uint8_t flags = 0;
    std::uint8_t digest_algorithm = 0;
    std::string digest;  // at most kLongestDigest bytes; of the data, to be compared by the reader
    bool operator==(const Metacopy&) const = default;
};

// EIO: too short, too long, of another version, or of another length than it says; overlayfs
// (ovl_check_metacopy_xattr) answers EIO for the file then, and so should the caller: its data are
// not to be had.
Result<Metacopy> parse_metacopy(std::string_view value);

// The value on disk: empty where nothing is to be said (overlayfs: ovl_set_metacopy_xattr).
// EINVAL: the digest is too long.
Result<std::string> encode(const Metacopy& metacopy);

// For regular files; others have no such mark whatever their attributes say, and must not be asked.
// None: the file has its own data. Errnos: EIO as above, those of read_mark.
Result<std::optional<Metacopy>> read_metacopy(int file, const MarkRules& rules);

Result<void> write_metacopy(int file, const MarkFormat& format, const Metacopy& metacopy);

// Once the data are there, and on disk: without the mark the file stands for itself, and a redirect
// of it has no meaning any more.
Result<void> remove_metacopy(int file, const MarkRules& rules);

}  // namespace plyfs::format
