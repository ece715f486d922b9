// SPDX-License-Identifier: GPL-2.0-or-later
//
// Copies one object of any type to another file system, or within one: a regular file, symlink,
// device, FIFO or socket, or a directory without what is in it. The copy is made under a temporary
// name and is complete but for the marks of a layer, which the caller adds before it renames the
// copy into place.
//
// Knows descriptors only: neither branches nor nodes. Thread-safe; two copies to one directory need
// different names. The caller sees to it that one object is not copied twice at a time.
#pragma once

#include <cstdint>
#include <optional>

#include "copyup/data.h"
#include "copyup/metadata.h"
#include "sys/attributes.h"
#include "sys/name.h"
#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::copyup {

struct CopyOptions {
    // Set: no data is copied, a regular file gets this size in bytes, all of it a hole. Zero for
    // O_TRUNC, the source's size for a copy of the metadata only.
    std::optional<std::uint64_t> size_without_data;
    // The data and metadata of a regular file and the metadata of a directory are on disk when the
    // copy returns. Other objects have nothing of their own to wait for: they are on disk with the
    // directory that names them.
    bool durable = true;
    XattrOptions xattrs;
    Observer observer;
};

struct CopiedObject {
    UniqueFd descriptor;    // of the copy: O_RDWR of a regular file, O_PATH of anything else
    Attributes attributes;  // of the copy
    Attributes source;      // as they were when the copy began
    CopiedData data;
    // FS_APPEND_FL and FS_IMMUTABLE_FL of the source: not set on the copy, for the caller's mark.
    std::uint32_t protecting_flags = 0;
};

// Copies what `source` is open on as the new name `name` of `directory`, which has neither a
// default ACL nor a setgid bit that a new object would inherit. Both may be O_PATH.
//
// The source is not changed. Its access time stays where it can be opened with O_NOATIME (EPERM:
// neither its owner nor privileged) or is reached through a mount that keeps it; of a symlink it is
// such a mount alone that keeps it.
//
// EINTR: options.observer cancelled it. EEXIST: there is something of that name. EOPNOTSUPP: an
// extended attribute can't be kept (LostXattrs). EPERM: a device or an owner without the right to
// make it. Else the errnos of what each step calls. After any error nothing of the copy is left,
// except where removing it fails too.
Result<CopiedObject> copy_object(int source, int directory, Name name, const CopyOptions& options);

}  // namespace plyfs::copyup
