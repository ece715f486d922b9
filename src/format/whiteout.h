// SPDX-License-Identifier: GPL-2.0-or-later
//
// Recognising whiteouts: what stands on a branch so that a name of lower branches is not seen.
//
//   - a character device 0:0 of that name (overlayfs: ovl_is_whiteout, WHITEOUT_DEV);
//   - an empty regular file of that name with overlay.whiteout, in a directory that says that it
//     has such (overlayfs: ovl_path_check_xwhiteout_xattr, opaque = "x"). Where the directory does
//     not, Linux 6.18 lists the name and finds no object by it; here it is an object for both;
//   - any object `.wh.NAME`. Names that begin with `.wh.` are never shown; those that begin with
//     `.wh..wh.` hide nothing, they are marks and files of aufs itself (aufs.5, OCI image layers).
//
// An object beside its own `.wh.NAME` is shown, and hides what is below; a directory is opaque
// then (OCI image layers: a whiteout is about lower layers only).
//
// Thread-safe; `directory` is a descriptor of the directory, O_PATH will do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "format/directory_marks.h"
#include "format/marks.h"
#include "sys/attributes.h"
#include "sys/name.h"
#include "sys/result.h"

namespace plyfs::format {

bool is_device_whiteout(const Attributes& attributes) noexcept;

// `.wh.NAME` -> NAME, a part of `name`. None: another name, or one that hides nothing.
std::optional<std::string_view> hidden_by_dot_file(std::string_view name) noexcept;

// The name can't be that of an object of the union: lookups find nothing, creations are refused.
bool is_reserved_name(std::string_view name, const MarkRules& rules) noexcept;

// `.wh.NAME`. EINVAL: NAME is reserved itself. ENAMETOOLONG: no room for the prefix, so that such
// a name (252 bytes and more) can't be hidden by a file.
Result<std::string> dot_file_name(Name name);

// Whether `name`, of which `attributes` were just read, is a whiteout itself. A system call only
// for an empty file where `parent` allows whiteout files. ESTALE: the name has become another
// object's meanwhile. Else the errnos of openat(2) and getxattr(2).
Result<bool> is_whiteout(int directory, Name name, const Attributes& attributes,
                         const DirectoryMarks& parent, const MarkRules& rules);

// Whether there is a `.wh.NAME` (false where dot files are not believed). Errnos: of statx(2).
Result<bool> has_dot_whiteout(int directory, Name name, const MarkRules& rules);

// What one branch has to say of a name.
struct Sighting {
    enum class Kind : std::uint8_t {
        Absent,    // nothing: look further down
        Whiteout,  // there is nothing from here on
        Object,    // `attributes` are its; a directory may go on further down
    };
    Kind kind = Kind::Absent;
    Attributes attributes;
};

// Whether there is anything further down that a whiteout would hide.
enum class Below : std::uint8_t { Something, Nothing };

// Looks `name` up in a directory whose marks are `parent`. Two system calls where there is no such
// object, dot files are believed and there is something `below`, else one (another for an empty
// file, see is_whiteout).
// The marks of a directory found so are read by marks_of_child, once it is open.
Result<Sighting> look(int directory, Name name, const DirectoryMarks& parent,
                      const MarkRules& rules, Below below = Below::Something);

// directory_marks() of `child`, the directory `name` of `parent` (O_PATH will do for both), which
// is opaque too beside its own `.wh.NAME`. Up to five system calls.
Result<DirectoryMarks> marks_of_child(int parent, Name name, int child, const MarkRules& rules);

// What a name that readdir gives stands for, as far as it is known without a system call.
enum class EntryKind : std::uint8_t {
    Object,
    DotWhiteout,  // hidden_by_dot_file(name) is hidden below
    Hidden,       // neither shown nor hiding: a mark
    Possible,     // an Object or a whiteout of its own name: is_whiteout() says
};

// `type` is a DT_* of <dirent.h>.
EntryKind kind_of_entry(std::string_view name, unsigned char type, const DirectoryMarks& parent,
                        const MarkRules& rules) noexcept;

}  // namespace plyfs::format
