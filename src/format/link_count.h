// SPDX-License-Identifier: GPL-2.0-or-later
//
// overlay.nlink: how many names the union shows for a hard-linked file that was copied up. Some of
// them are links of the copy, others still of the lower inode, so that neither st_nlink says it;
// the mark has it relative to one of them, since a crash may come before or after a name is made:
//   "U+1", "U-1"   st_nlink of the copy, and so much (its entry in the index counts too: -1)
//   "L+0", "L-2"   st_nlink of the lower inode, and so much
// (overlayfs: ovl_set_nlink_common). Before a name is copied up, which changes nothing in the
// union, it is written relative to the lower inode; before a name is made or removed, relative to
// the copy.
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

struct LinkCount {
    enum class Base : std::uint8_t { Upper, Lower };
    Base base = Base::Upper;
    int difference = 0;  // what the union shows, less st_nlink of the base
    bool operator==(const LinkCount&) const = default;
};

// None: not of that form (overlayfs: ovl_get_nlink), or longer than the 12 bytes that it reads.
std::optional<LinkCount> parse_link_count(std::string_view value) noexcept;
std::string encode(const LinkCount& count);

// What the union shows, of st_nlink of both inodes. None: it would be less than 1; overlayfs shows
// st_nlink of the copy then.
std::optional<std::uint32_t> shown_links(const LinkCount& count, std::uint32_t upper,
                                         std::uint32_t lower) noexcept;

// What has to be written for `shown` names. `base_links` is st_nlink of the base.
LinkCount link_count(LinkCount::Base base, std::uint32_t shown, std::uint32_t base_links) noexcept;

// None: no mark, or none that is understood. Errnos: of read_mark.
Result<std::optional<LinkCount>> read_link_count(int copy, const MarkRules& rules);
Result<void> write_link_count(int copy, const MarkFormat& format, const LinkCount& count);

}  // namespace plyfs::format
