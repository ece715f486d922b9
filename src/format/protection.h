// SPDX-License-Identifier: GPL-2.0-or-later
//
// overlay.protattr: the inode flags append-only and immutable (chattr +a, +i) of a file of the
// writable layer, as the letters "a" and "i". The copy itself must not have them: the union could
// not rename or remove it any more (overlayfs: ovl_set_protattr).
//
// Functions and plain values: thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "format/marks.h"
#include "sys/result.h"

namespace plyfs::format {

struct Protection {
    bool append = false;
    bool immutable = false;
    bool operator==(const Protection&) const = default;
};

// Of FS_*_FL as FS_IOC_GETFLAGS has them, and back.
Protection protection_of_flags(std::uint32_t flags) noexcept;
std::uint32_t flags_of(const Protection& protection) noexcept;

// None: empty, or with a letter that is not known; overlayfs ignores the whole value then
// (ovl_check_protattr).
std::optional<Protection> parse_protection(std::string_view value) noexcept;
std::string encode(const Protection& protection);

// No mark, or none that is understood: no flags. Errnos: of read_mark.
Result<Protection> read_protection(int object, const MarkRules& rules);

// Removes the mark where there are no flags. Errnos: of write_mark.
Result<void> write_protection(int object, const MarkFormat& format, const Protection& protection);

}  // namespace plyfs::format
