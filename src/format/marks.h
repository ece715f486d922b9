// SPDX-License-Identifier: GPL-2.0-or-later
//
// The marks that a union keeps on disk, in the format of the kernel's overlayfs: what they are
// called, in which of their forms they are written on one branch, and which forms are believed
// when they are read. The other headers of this folder give each mark its meaning.
//
// The marks are extended attributes NAMESPACE.overlay.X (overlayfs: ovl_xattr_table); `trusted`
// takes CAP_SYS_ADMIN in the initial user namespace, `user` (mount option userxattr) only the right
// to write the object, but symlinks, devices, FIFOs and sockets can't have it (xattr(7)).
//
// Functions and plain values: thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sys/result.h"

namespace plyfs::format {

enum class Namespace : std::uint8_t { Trusted, User };

enum class WhiteoutKind : std::uint8_t {
    Device,     // a character device 0:0 of the name that it hides
    XattrFile,  // an empty file with overlay.whiteout; its directory has overlay.opaque = "x".
                // The kernel believes those in lower layers, from Linux 6.7
    DotFile,    // an empty file `.wh.NAME`; aufs, OCI layers, fuse-overlayfs. Not the kernel
};

// How marks are written on one branch.
struct MarkFormat {
    // None: the file system has no extended attributes. Then directories are made opaque by
    // `.wh..wh..opq`, and of the other marks none can be written.
    std::optional<Namespace> names = Namespace::Trusted;
    WhiteoutKind whiteout = WhiteoutKind::Device;
    bool operator==(const MarkFormat&) const = default;
};

// Which forms are believed when marks are read; at first all of them. Who may write a branch
// directly may forge what is in a form without privileges (`user`, `.wh.`).
struct MarkRules {
    bool trusted = true;
    bool user = true;
    bool fuse_overlayfs = true;  // user.fuseoverlayfs.opaque
    bool dot_files = true;       // `.wh.NAME` and `.wh..wh..opq`; without, they are plain names
    bool operator==(const MarkRules&) const = default;
};

// What the kernel believes: one namespace, which depends on the mount option userxattr.
constexpr MarkRules kernel_rules(Namespace names) noexcept {
    return {.trusted = names == Namespace::Trusted,
            .user = names == Namespace::User,
            .fuse_overlayfs = false,
            .dot_files = false};
}

enum class Mark : std::uint8_t {
    Opaque,      // directory_marks.h
    Redirect,    // redirect.h
    Origin,      // handle_record.h
    Impure,      // directory_marks.h
    Links,       // link_count.h
    Upper,       // handle_record.h
    Uuid,        // union_uuid.h
    Metacopy,    // metacopy.h
    Protection,  // protection.h
    Whiteout,    // whiteout.h
};

// The attribute's name, "trusted.overlay.opaque". Static.
const char* xattr_name(Mark mark, Namespace names) noexcept;

// The mark's value on what `object` (O_PATH will do) is open on; `trusted` before `user` where both
// are there. None: it has none, or can't have any (ENODATA, EOPNOTSUPP), or its `user` attributes
// may not be read (EACCES; the kernel takes that for none too: ovl_check_metacopy_xattr).
// Else the errnos of getxattr(2).
Result<std::optional<std::string>> read_mark(int object, Mark mark, const MarkRules& rules);

// `rules` without the attributes of which `object` has none, by one look at its list: most objects
// have no mark at all. All of `rules` where the list can't be read.
MarkRules forms_present(int object, const MarkRules& rules);

// Sets or replaces it. EOPNOTSUPP: `format` or the file system has no attributes. EPERM: no right
// to this namespace, or `user` on something else than a file or a directory. ENOSPC, EDQUOT, and
// E2BIG where the file system bounds their size. Else the errnos of setxattr(2).
Result<void> write_mark(int object, Mark mark, const MarkFormat& format, std::string_view value);

// Removes it from every namespace that `rules` believes. None there: nothing to do.
Result<void> remove_mark(int object, Mark mark, const MarkRules& rules);

}  // namespace plyfs::format
