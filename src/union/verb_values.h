// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the verbs of the union take and return. Plain values; a DirectoryHandle has a mutex of its
// own.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "sys/attributes.h"
#include "sys/credentials.h"
#include "sys/mutex.h"
#include "sys/unique_fd.h"
#include "union/branch.h"
#include "union/handle_table.h"
#include "union/journal.h"
#include "union/merged_directory.h"
#include "union/node.h"
#include "union/snapshot.h"

namespace plyfs {

// What a verb that changes something is told about who asks.
struct Request {
    sys::Caller caller;
    Journal& journal;
    // The caller gave up waiting (was interrupted). May be empty.
    std::function<bool()> interrupted{};
    pid_t thread = 0;  // who waits for the answer; 0: in a process namespace not known here
};

// A node handed to the kernel: counted as one lookup, to be given back by forget().
struct Entry {
    NodeId node = 0;
    Attributes attributes;
};

// What setattr changes; absent members stay. UTIME_NOW is understood in tv_nsec.
struct AttributeChange {
    std::optional<mode_t> mode;
    std::optional<uid_t> uid;
    std::optional<gid_t> gid;
    std::optional<off_t> size;
    std::optional<timespec> access_time;
    std::optional<timespec> modification_time;
    // With `size`: the caller may not keep SUID and SGID (FATTR_KILL_SUIDGID).
    bool drop_set_id = false;
};

// Where the data of a file is that was open on a read-only branch when it was copied up.
struct FollowedFile {
    Mutex mutex;
    std::shared_ptr<const UniqueFd> descriptor GUARDED_BY(mutex);
    RealId real GUARDED_BY(mutex);
    bool has_data GUARDED_BY(mutex) = false;
};

// An open regular file. Owned by the table of handles and whoever uses it.
struct FileHandle {
    UniqueFd descriptor;
    NodeRef node;
    RealId real;
    BranchIndex branch = 0;
    int flags = 0;  // as asked for by open(2)
    std::shared_ptr<FollowedFile> followed = std::make_shared<FollowedFile>();
    // Of a reader that keeps what it opened (snapshot.h); else null.
    std::shared_ptr<const Snapshot> snapshot{};

    // It can be mapped for writing.
    bool may_map() const noexcept { return (flags & O_ACCMODE) == O_RDWR; }
    bool writes() const noexcept { return (flags & O_ACCMODE) != O_RDONLY; }
};

// An open directory: its names as they were when reading began (opendir, rewinddir).
struct DirectoryHandle {
    NodeRef node;
    Mutex mutex;
    std::shared_ptr<const MergedDirectory> names GUARDED_BY(mutex);
};

// What the kernel may do with the listing that it holds of a directory that was opened.
enum class ListingUse : std::uint8_t {
    None,       // neither use nor fill it: others read what the directory was
    Fill,       // forget it; what is read now may be held
    Keep,       // use it: nothing has changed
    KeepNames,  // the same, but the attributes that were handed out with it have run out
};

struct OpenedFile {
    HandleId handle = 0;
    std::shared_ptr<const FileHandle> file;
    Attributes attributes;  // as the branch had them when it was opened
    // Another node is the same file.
    bool shared_file = false;
};

struct CreatedFile {
    Entry entry;
    OpenedFile opened;
};

// One name of a directory being read.
struct DirectoryEntry {
    const char* name = nullptr;  // lives as long as the handle's snapshot
    std::uint64_t inode = 0;     // as stat would show it
    unsigned char type = 0;      // DT_*
    std::uint64_t next = 0;      // the offset to go on at
    std::uint64_t end = 0;       // that of the last name
};

// What was found in the indexes of the branches at mount.
struct IndexSweep {
    std::uint64_t removed = 0;
    std::uint64_t stale = 0;  // left: copies of lower files that are gone
};

}  // namespace plyfs
