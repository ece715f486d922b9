// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which forms of marks a directory's file system and the daemon's privileges allow. Found out by
// trying, in a work directory, with objects that are removed again.
//
// Functions and plain values: thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "format/marks.h"
#include "sys/result.h"

namespace plyfs::format {

// Each is the errno with which it was refused; none: it works.
struct MarkSupport {
    std::optional<Errno> device;              // mknod of a character device 0:0
    std::optional<Errno> trusted;             // trusted.overlay.* on a file
    std::optional<Errno> user;                // user.overlay.* on a file
    std::optional<Errno> exchange;            // RENAME_EXCHANGE
    std::optional<Errno> whiteout_on_rename;  // RENAME_WHITEOUT
    std::optional<Errno> handles;             // file handles, for origins and the index
};

// Tries them in `work` (O_PATH will do). Errnos: what keeps a plain file from being made there
// (EROFS, ENOSPC, EDQUOT, EACCES, ...).
Result<MarkSupport> probe_marks(int work);

// What was asked for; none: whatever works best.
struct MarkWish {
    std::optional<Namespace> names;
    std::optional<WhiteoutKind> whiteout;
};

// A form of marks that was asked for and can't be had.
struct MarkRefusal {
    enum class What : std::uint8_t { Device, Trusted, User, NoAttributes };
    What what = What::Device;
    Errno error{0};

    // One line that says what was refused, why, and what may be asked for instead.
    std::string message() const;
};

// `trusted` before `user`; whiteouts as devices, else as DotFile, which every file system can have
// and which all readers but the kernel's know. Where no attributes can be had and none were asked
// for: none.
std::expected<MarkFormat, MarkRefusal> choose_format(const MarkSupport& support,
                                                     const MarkWish& wish);

}  // namespace plyfs::format
