// SPDX-License-Identifier: GPL-2.0-or-later
//
// overlay.uuid of the writable layer's root: the UUID of the union itself, 16 bytes, made at its
// first mount (overlayfs: ovl_init_uuid_xattr, mount options uuid=auto and uuid=on). An impure root
// without it was mounted by a kernel that knew no UUIDs, and stays without.
//
// Thread-safe.
#pragma once

#include <optional>

#include "format/handle_record.h"
#include "format/marks.h"
#include "sys/result.h"

namespace plyfs::format {

// None: no mark, or one that is not 16 bytes long. Errnos: of read_mark.
Result<std::optional<Uuid>> read_union_uuid(int root, const MarkRules& rules);
Result<void> write_union_uuid(int root, const MarkFormat& format, const Uuid& uuid);

// A random one (RFC 9562, version 4). Errnos: of getrandom(2).
Result<Uuid> make_union_uuid();

}  // namespace plyfs::format
