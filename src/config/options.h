// SPDX-License-Identifier: GPL-2.0-or-later
//
// What one mount was asked to be, after all of its sources (command line, -o options, YAML file)
// were merged and validated. Plain data: no behaviour, owns its strings, safe to copy and to read
// from any thread once built.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace plyfs::config {

// What may be done to a branch. ReadWrite: everything. NoCreate: existing files are written in
// place, nothing new is created. ReadOnly: never changed, whatever the operation.
enum class BranchMode : std::uint8_t { ReadWrite, NoCreate, ReadOnly };

// What a descriptor of a read-only branch's file reads once the file is copied up and changed.
// Follow: what is written to the copy. Snapshot: what the file was when it was opened.
enum class Readers : std::uint8_t { Follow, Snapshot };

// One branch. `path` is absolute and real (no symlinks, no `..`), globs already expanded.
struct BranchOptions {
    std::string path;
    BranchMode mode = BranchMode::ReadWrite;
    // Bytes that must stay free for the create policies to pick this branch; the mount's
    // `min_free_space` where absent.
    std::optional<std::uint64_t> min_free_space;
    // Absolute and real: a directory on the same mount as the branch, outside of it, for what plyfs
    // keeps beside a writable branch. Where absent that is in the branch's root.
    std::optional<std::string> work_directory{};
    // Of a read-only branch; the mount's where absent.
    std::optional<Readers> readers{};
    bool operator==(const BranchOptions&) const = default;
};

// Names are the lower-case enumerators' (`ff`, `ep-mfs` is not one: `epmfs`).
// clang-format off
enum class Policy : std::uint8_t {
    All, EpAll, EpFf, EpMfs, EpRand, Ff, Lfs, Mfs, Newest, Pfrd, Rand
};
// clang-format on

// The functions that a policy can be set for one by one, by category:
// create: create, mkdir, mknod, symlink; search: access, getattr, getxattr, listxattr, open,
// readlink; action: chmod, chown, link, removexattr, rename, rmdir, setxattr, truncate, unlink,
// utimens.
// clang-format off
enum class Function : std::uint8_t {
    Create, Mkdir, Mknod, Symlink,
    Access, Getattr, Getxattr, Listxattr, Open, Readlink,
    Chmod, Chown, Link, Removexattr, Rename, Rmdir, Setxattr, Truncate, Unlink, Utimens
};
// clang-format on

struct PolicyOptions {
    Policy create = Policy::Pfrd;
    Policy search = Policy::Ff;
    Policy action = Policy::EpAll;
    std::map<Function, Policy> functions;  // override the category of the function
    bool operator==(const PolicyOptions&) const = default;
};

// The form in which marks are written on writable branches; those of Auto are found out by trying.
enum class WhiteoutForm : std::uint8_t { Auto, Device, Xattr, Dot };
enum class MarkNames : std::uint8_t { Auto, Trusted, User };

// What is on read-only branches gets a copy on a writable one before it is changed.
struct CopyUpOptions {
    std::optional<Policy> policy;  // where copies go; the policy of create where absent
    bool fsync = true;             // copies are on disk before they are seen
    bool redirect = true;          // directories of read-only branches can be renamed
    bool metacopy = false;         // a change of attributes alone copies no data
    bool index = true;             // hard links of read-only branches stay linked
    WhiteoutForm whiteouts = WhiteoutForm::Auto;
    MarkNames xattrs = MarkNames::Auto;
    bool operator==(const CopyUpOptions&) const = default;
};

// How long the kernel may answer from its own memory without asking. Zero: always ask.
struct CacheOptions {
    std::chrono::nanoseconds entry = std::chrono::seconds(1);
    std::chrono::nanoseconds negative_entry = std::chrono::seconds(0);
    std::chrono::nanoseconds attributes = std::chrono::seconds(1);
    bool symlinks = true;
    // Listings are kept as long as no branch's directory has changed.
    bool readdir = true;
    // Nobody but this mount changes the branches: entries and attributes stay valid for a day
    // unless set otherwise.
    bool exclusive = false;
    bool operator==(const CacheOptions&) const = default;
};

enum class PassthroughMode : std::uint8_t { On, Off };

struct PassthroughOptions {
    PassthroughMode mode = PassthroughMode::On;
    // How deep a stack of file systems a branch's files may be: 1 keeps plyfs usable as a layer of
    // an overlay, 2 accepts branches on overlayfs. 0: chosen by plyfs.
    std::uint32_t max_stack_depth = 0;
    // Bytes: a smaller file that is opened for reading is not passed through; what was read stays
    // in the kernel's page cache.
    std::uint64_t small_files = 0;
    // How long the kernel may open a file that was read by itself, before it asks again; 0: not at
    // all. Only kernels with the patch of docs/kernel-open.md do.
    std::chrono::nanoseconds attach = std::chrono::seconds(10);
    bool operator==(const PassthroughOptions&) const = default;
};

// Who sees flock(2) and POSIX locks: only users of this mount, or all users of the branch's file.
enum class LockScope : std::uint8_t { Local, Branch };

enum class LogLevel : std::uint8_t { Error, Warning, Info, Debug };

struct LoggingOptions {
    LogLevel level = LogLevel::Info;
    // "" (stderr in front, syslog in the background), "syslog", "stderr" or an absolute path
    std::string target;
    bool operator==(const LoggingOptions&) const = default;
};

struct LimitOptions {
    std::uint32_t threads = 0;           // serving threads; 0: chosen by plyfs
    std::uint32_t open_directories = 0;  // cached directory descriptors; 0: chosen by plyfs
    std::uint32_t max_background = 0;    // 0: the kernel's default
    std::uint64_t readahead = 0;         // bytes; 0: the kernel's default
    bool operator==(const LimitOptions&) const = default;
};

struct Options {
    std::vector<BranchOptions> branches;  // in precedence: writable ones first, order kept
    std::string mountpoint;               // absolute, real
    std::uint64_t min_free_space = std::uint64_t{4} << 30;  // bytes
    PolicyOptions policies;
    CopyUpOptions copy_up;
    CacheOptions cache;
    PassthroughOptions passthrough;
    Readers readers = Readers::Follow;
    LockScope locks = LockScope::Local;
    // Requests come through io_uring, where the kernel offers it.
    bool io_uring = false;
    bool posix_acl = true;
    bool xattrs = true;
    // Nothing waits for the disk, fsync(2) neither: what was written may be gone after a crash of
    // the system, and a mark keeps anybody from mounting the writable branches then.
    bool is_volatile = false;
    LoggingOptions logging;
    LimitOptions limits;

    // Mount flags and FUSE options, as mount(8) names them.
    bool read_only = false;  // ro
    bool no_suid = false;    // nosuid; set for every mount by a user who is not root
    bool no_dev = false;     // nodev; likewise
    bool no_exec = false;
    bool no_atime = false;
    bool no_dir_atime = false;
    bool relatime = false;
    bool synchronous = false;  // sync
    bool dir_sync = false;     // dirsync
    bool allow_other = true;   // when mounted by root; default false otherwise
    bool nonempty = false;
    std::string fsname;  // default: the source as given
    std::string subtype = "plyfs";

    bool foreground = false;  // -f
    bool debug = false;       // -d: implies foreground, logs each request
    bool operator==(const Options&) const = default;
};

}  // namespace plyfs::config
