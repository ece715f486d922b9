// SPDX-License-Identifier: GPL-2.0-or-later
//
// Records of file handles: which inode of which file system an object was copied up from
// (overlay.origin), and which directory an entry of the index stands for (overlay.upper). They
// outlive renames, remounts and a change of the branch's path.
//
// On disk (overlayfs: struct ovl_fb, "On-disk format for origin file handle"):
//
//   byte  0      version, 0
//         1      magic, 0xfb
//         2      length of the whole record
//         3      flags: 1 big endian, 2 any endianness, 4 an object of the writable layer
//         4      type of the handle, as the file system calls it
//         5..20  UUID of the file system; all zero: it has none, or mount option uuid=off
//         21..   the handle
//
// Functions and plain values: thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "format/marks.h"
#include "sys/file_system_identity.h"
#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::format {

// As FileSystemIdentity has it; all zero where none is told.
using Uuid = std::array<std::uint8_t, 16>;

struct HandleRecord {
    bool any_endian = false;  // kept as it was read
    bool upper = false;       // the handle is one of the writable layer
    std::uint8_t type = 0;
    Uuid uuid{};
    std::string handle;  // 1 to 234 bytes, opaque
    bool operator==(const HandleRecord&) const = default;
};

// The record's bytes, at most 255. The handle must not be longer than that allows.
std::string encode(const HandleRecord& record);

enum class RecordFault : std::uint8_t {
    // Written by a newer kernel, by one of the other endianness, or empty: it was copied up, but
    // nobody knows from where (overlayfs: ovl_check_fb_len gives ENODATA).
    Unknown,
    Damaged,  // not a record (overlayfs: EINVAL, a warning, and then as Unknown)
};

// Bytes beyond the record's own length are ignored, as overlayfs does.
std::expected<HandleRecord, RecordFault> decode_handle_record(std::string_view bytes);

// The record of what `descriptor` (O_PATH will do) is open on, an inode of the file system `uuid`.
// EOPNOTSUPP: the file system can't open handles; overlayfs writes an empty origin then.
// EOVERFLOW: the handle does not fit. Else the errnos of name_to_handle_at(2).
Result<HandleRecord> handle_record(int descriptor, const Uuid& uuid, bool upper);

// Which file system's record is followed into a branch. Several file systems without UUID can't be
// told apart (overlayfs: ovl_lower_uuid_ok).
enum class UuidRule : std::uint8_t {
    Known,    // equal, and not null
    Same,     // equal; null only where one branch alone has no UUID
    NullOnly  // mount option uuid=off: the record's is null, whatever the branch's
};

bool matches(const HandleRecord& record, const Uuid& uuid, UuidRule rule) noexcept;

// Opens the inode of `record` on the file system of the directory `mount`, whose UUID is `uuid`.
// It may lie outside of the branch and have no name any more: good for its identity. Whoever needs
// a directory of the branch has to compare it with what the path leads to. ESTALE: `matches` says
// no, or there is no such inode any more. EPERM: without CAP_DAC_READ_SEARCH. `flags` as in
// open(2); O_PATH for what must not be opened, such as devices.
Result<UniqueFd> open_handle_record(int mount, const Uuid& uuid, UuidRule rule,
                                    const HandleRecord& record, int flags);

// A mark that holds a record.
struct HandleMark {
    bool present = false;  // copied up (or moved), whether the record is known or not
    bool damaged = false;
    std::optional<HandleRecord> record;
};

// `mark` is Mark::Origin or Mark::Upper. Errnos: of read_mark.
Result<HandleMark> read_handle_mark(int object, Mark mark, const MarkRules& rules);

// No record: an empty value, "copied up, origin unknown". False: `object` can't have the mark, and
// goes without (EOPNOTSUPP, and EPERM of `user` on a symlink or device; overlayfs:
// ovl_set_origin_fh). Errnos: of write_mark.
Result<bool> write_handle_mark(int object, Mark mark, const MarkFormat& format,
                               const std::optional<HandleRecord>& record);

}  // namespace plyfs::format
