// SPDX-License-Identifier: GPL-2.0-or-later
//
// The work directory of a writable branch: temporary objects, graves (what a plan took away and may
// have to put back) and intent records. It is the hidden `.plyfs` at the branch's root, or `plyfs`
// in a directory apart, for branches that others look at while they are mounted. Made when it is
// first needed, so that a branch nobody changed in a special way stays as it was.
//
//   .plyfs/             0700, no default ACL, no setgid bit: nothing is inherited from the branch
//     lock              locked (flock) for moments, by whoever makes or removes anything named here
//     id                32 hex digits: the branch, whatever path it is mounted from
//     mounts/MOUNT      locked as long as the mount MOUNT lives; in it, a line each, the other
//                       branches whose intent records may name this one: as long as one of those
//                       is absent, a dead mount's part and the id stay here
//     work/MOUNT/       its temporary objects and graves
//     intents/MOUNT.N   its intent records, N rising in the order in which the verbs began
//     index/            the copies of lower files with several names (link_index.h), of all mounts:
//                       it stays as long as there is one
//
// Several mounts may use one branch at the same time. A mount is dead when its file in mounts/
// can be locked; whoever does so has claimed what it left: nobody else replays its records or
// sweeps its work directory. Where the file system has no flock(2), nobody is ever found dead and
// leftovers stay.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sys/mutex.h"
#include "sys/name.h"
#include "sys/result.h"
#include "sys/unique_fd.h"
#include "union/branch_id.h"

namespace plyfs {

inline constexpr char kWorkDirectoryName[] = ".plyfs";
inline constexpr char kApartWorkDirectoryName[] = "plyfs";

// Stands in a Place for the path of work(), which is not one from the branch's root: no path that
// is begins with a slash.
inline constexpr char kWorkPlace[] = "/";

// A mount that ended without tidying up, claimed as long as `lock` is open.
struct DeadMount {
    MountId mount;
    UniqueFd lock;
    std::vector<BranchId> homes;  // other branches whose records of the mount may name this one
};

// What earlier mounts left on a branch.
struct Leftovers {
    std::optional<BranchId> id;   // none: the branch has no work directory
    std::vector<DeadMount> dead;  // claimed by this call
    std::vector<MountId> alive;   // mounts that other daemons hold now
};

class WorkDirectory {
public:
    enum class Home : std::uint8_t {
        Root,   // of the branch
        Apart,  // a directory on the branch's mount that is there for this only
    };

    // `home` is the directory that it is in, borrowed: it must stay open as long as this object
    // lives. Touches nothing.
    WorkDirectory(int home, MountId mount, Home kind = Home::Root);
    ~WorkDirectory();
    WorkDirectory(const WorkDirectory&) = delete;
    WorkDirectory& operator=(const WorkDirectory&) = delete;

    // Each of these makes what is missing and joins the mount to the branch. Errnos: of mkdirat,
    // openat, renameat; ENOTDIR, ELOOP where something else bears the name `.plyfs`; EROFS.
    //
    // The branch's id, on disk by the time it is returned.
    Result<BranchId> id();
    // Where this mount's temporary objects and graves are made. Borrowed, O_PATH, open as long as
    // this object lives.
    Result<int> work();
    // Where intent records are kept. As above.
    Result<int> intents();

    // Before a record that names this branch is written on the branch `home`: notes that, durably,
    // so that this one can tell later that it is waited for. Costs something once for each home.
    // Errnos beside those above: of pwrite(2) and fsync(2).
    Result<void> expect_record_on(const BranchId& home);

    // Records of this mount are left here. Makes nothing.
    Result<bool> has_records();

    const MountId& mount() const noexcept { return mount_; }
    // For the parent of a Place in work().
    static std::string work_path() { return kWorkPlace; }
    Home home() const noexcept { return kind_; }

    // Where the marks of format/overlay_work.h are: in the directory apart, as the kernel's
    // overlayfs has it, or in `.plyfs`. Makes nothing. ENOENT: not there yet.
    Result<UniqueFd> overlay_base() const;

    // A name that this mount has not used before: PREFIX.COUNTER. Unique on every branch of the
    // process, since work() belongs to this mount alone.
    static std::string unique_name(std::string_view prefix);

    // Claims what dead mounts left. Makes nothing. A branch without work directory: nothing left.
    Result<Leftovers> claim_leftovers() const;

    // The work directory of another mount, O_PATH. ENOENT: it left none.
    Result<UniqueFd> work_of(const MountId& mount) const;
    // The intents directory, where there is one: makes nothing. ENOENT otherwise.
    Result<UniqueFd> existing_intents() const;

    // The index, made where it lacks. Errnos: as work().
    Result<UniqueFd> make_index();
    // The same where there is one: makes nothing. ENOENT otherwise.
    Result<UniqueFd> existing_index() const;

    // Removes what a claimed mount left, except the names in its work directory that `keep` wants.
    // `settled`: no record elsewhere may name this branch any more; where nothing is left the
    // mount's part goes too, and with the last part the id may go at unmount. Symlinks are not
    // followed; memory and descriptors are bounded, however deep the tree. Returns how many objects
    // were removed; the first error where something could not be removed, after everything else is.
    Result<std::uint64_t> sweep(const DeadMount& dead,
                                const std::function<bool(std::string_view)>& keep,
                                bool settled) const;

    // At unmount: takes this mount's part away, and the whole directory with its id when no other
    // mount is on it and nothing is left in it. True: it is gone. The descriptors handed out are
    // closed; another use begins anew. Intent records left behind by this mount, here or (where
    // not `settled`) on another branch, keep its part (graves included) for the next mount.
    Result<bool> remove_if_empty(bool settled = true);
    // The same, but nothing goes that another process may have open: only this mount's part.
    Result<void> leave(bool settled);

private:
    struct Opened {
        UniqueFd directory;
        UniqueFd mount_lock;
        UniqueFd work;
        UniqueFd intents;
        BranchId id;
        std::vector<BranchId> homes;  // what the file of `mount_lock` says
    };

    Result<const Opened*> opened() EXCLUDES(mutex_);
    Result<Opened*> opened_locked() REQUIRES(mutex_);
    Result<Opened> open() const;
    Name name() const;
    // ENOENT: it was not made yet.
    Result<UniqueFd> open_existing() const;
    Result<bool> remove_whole(int directory) const;
    // With the lock against others.
    Result<void> remove_own_part(int directory, bool settled) REQUIRES(mutex_);

    // Constant after construction.
    const int home_;
    const MountId mount_;
    const Home kind_;

    Mutex mutex_;
    std::optional<Opened> opened_ GUARDED_BY(mutex_);
};

}  // namespace plyfs
