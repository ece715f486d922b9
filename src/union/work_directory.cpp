// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/work_directory.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <span>
#include <tuple>

#include "format/sweep.h"
#include "sys/credentials.h"
#include "sys/data.h"
#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "sys/small_file.h"
#include "sys/statx.h"

namespace plyfs {
namespace {

// A literal that is known to be one.
Name known(const char* text) {
    return *Name::from(text);
}

bool is_missing(Errno error) {
    return error == ENOENT;
}

// ENOENT counts as done.
Result<void> gone(Result<void> removed) {
    if (!removed && is_missing(removed.error())) return {};
    return removed;
}

Result<UniqueFd> make_or_open_directory(int parent, Name name) {
    for (;;) {
        const auto made = sys::make_directory(parent, name, 0700);
        if (!made && made.error() != EEXIST) return fail(made.error());
        auto opened = sys::open_directory_at(parent, name);
        // Its last user took it away between the two calls: once more.
        if (opened || made || !is_missing(opened.error())) return opened;
    }
}

// Who may write here makes the daemon rename whatever they like.
Result<void> refuse_if_foreign(int directory) {
    const Attributes attributes = TRY(sys::stat_descriptor(directory));
    if (attributes.uid != sys::effective_user() || (attributes.mode & 0022) != 0)
        return fail(EPERM);
    return {};
}

enum class LockOutcome { Locked, Busy, Unsupported };

Result<LockOutcome> lock(int descriptor, int operation) {
    for (;;) {
        const auto locked = sys::lock_whole(descriptor, operation);
        if (locked) return LockOutcome::Locked;
        const Errno error = locked.error();
        if (error == EINTR) continue;
        if (error == EWOULDBLOCK) return LockOutcome::Busy;
        if (error == ENOLCK || error == EOPNOTSUPP || error == ENOSYS) {
            return LockOutcome::Unsupported;
        }
        return fail(error);
    }
}

// Keeps everybody else from making and removing names in the work directory, as long as the
// descriptor is open. ENOENT: it was removed while this waited.
Result<UniqueFd> lock_against_others(int directory) {
    UniqueFd file = TRY(sys::open_at(directory, known("lock"), O_RDWR | O_CREAT, 0600));
    std::ignore = TRY(lock(file.get(), LOCK_EX));
    if (TRY(sys::stat_descriptor(file.get())).links == 0) return fail(ENOENT);
    return file;
}

// The names in directory/`name`, as far as `part_of` makes something of them; none where it does
// not exist.
template <typename PartOf>
Result<void> for_each_name_in(int directory, Name name, PartOf part_of) {
    const auto opened = sys::open_directory_at(directory, name);
    if (!opened && is_missing(opened.error())) return {};
    if (!opened) return fail(opened.error());
    auto reader = TRY(sys::DirectoryReader::open(opened->get()));
    while (TRY(reader.fill())) {
        reader.for_each([&](const sys::RawEntry& entry) { part_of(std::string_view(entry.name)); });
    }
    return {};
}

Result<bool> has_intents(int directory, const MountId& mount) {
    bool found = false;
    TRY(for_each_name_in(directory, known("intents"), [&](std::string_view name) {
        if (name.starts_with(mount)) found = true;
    }));
    return found;
}

// The lines of a file in mounts/. One that was cut off named a branch whose record never came to
// be written.
Result<std::vector<BranchId>> read_homes(int file) {
    std::string text(TRY(sys::stat_descriptor(file)).size, '\0');
    text.resize(TRY(sys::read_at(file, std::as_writable_bytes(std::span(text)), 0)));
    std::vector<BranchId> homes;
    for (std::size_t at = 0; text.size() - at > kIdDigits; at += kIdDigits + 1) {
        std::string line = text.substr(at, kIdDigits);
        if (is_id(line)) homes.push_back(std::move(line));
    }
    return homes;
}

// Takes the part of a mount away, as far as it is empty. With the work directory locked.
Result<void> remove_part(int directory, const MountId& mount) {
    const Name name = TRY(Name::from(mount));
    const auto work = sys::open_directory_at(directory, known("work"));
    if (work) {
        const auto removed = gone(sys::remove_directory(work->get(), name));
        if (!removed && removed.error() == ENOTEMPTY) return {};
        TRY(removed);
    } else if (!is_missing(work.error())) {
        return fail(work.error());
    }
    if (TRY(has_intents(directory, mount))) return {};
    const auto mounts = sys::open_directory_at(directory, known("mounts"));
    if (!mounts) return gone(fail(mounts.error()));
    return gone(sys::remove_name(mounts->get(), name));
}

}  // namespace

WorkDirectory::WorkDirectory(int home, MountId mount, Home kind)
    : home_(home), mount_(std::move(mount)), kind_(kind) {}

WorkDirectory::~WorkDirectory() = default;

Name WorkDirectory::name() const {
    return known(kind_ == Home::Root ? kWorkDirectoryName : kApartWorkDirectoryName);
}

Result<UniqueFd> WorkDirectory::open_existing() const {
    UniqueFd directory = TRY(sys::open_directory_at(home_, name()));
    TRY(refuse_if_foreign(directory.get()));
    return directory;
}

// Where nobody is on it. With the work directory locked. False: somebody is.
Result<bool> WorkDirectory::remove_whole(int directory) const {
    for (const char* const name : {"mounts", "work", "intents", "index"}) {
        const auto removed = gone(sys::remove_directory(directory, known(name)));
        if (!removed && removed.error() == ENOTEMPTY) return false;
        TRY(removed);
    }
    TRY(gone(sys::remove_name(directory, known("id.new"))));
    TRY(gone(sys::remove_name(directory, known("id"))));
    TRY(gone(sys::remove_name(directory, known("lock"))));
    const auto removed = sys::remove_directory(home_, name());
    if (!removed && removed.error() == ENOTEMPTY) return false;
    TRY(removed);
    return true;
}

Result<WorkDirectory::Opened> WorkDirectory::open() const {
    const Name mount_name = TRY(Name::from(mount_));
    for (;;) {
        Opened opened;
        opened.directory = TRY(make_or_open_directory(home_, name()));
        const int directory = opened.directory.get();
        TRY(refuse_if_foreign(directory));
        const auto locked = lock_against_others(directory);
        // Its last user took it away between the two calls: once more.
        if (!locked && is_missing(locked.error())) continue;
        if (!locked) return fail(locked.error());
        opened.id = TRY(read_or_make_branch_id(home_, directory));
        const UniqueFd mounts = TRY(make_or_open_directory(directory, known("mounts")));
        opened.mount_lock = TRY(sys::open_at(mounts.get(), mount_name, O_RDWR | O_CREAT, 0600));
        if (TRY(lock(opened.mount_lock.get(), LOCK_EX | LOCK_NB)) == LockOutcome::Busy) {
            return fail(EBUSY);
        }
        const UniqueFd work = TRY(make_or_open_directory(directory, known("work")));
        opened.work = TRY(make_or_open_directory(work.get(), mount_name));
        opened.intents = TRY(make_or_open_directory(directory, known("intents")));
        // What is made durable in these later must be found again.
        for (const int made : {mounts.get(), work.get(), directory}) {
            TRY(sys::synchronize_directory(made));
        }
        return opened;
    }
}

Result<WorkDirectory::Opened*> WorkDirectory::opened_locked() {
    if (!opened_) opened_ = TRY(open());
    return &*opened_;
}

Result<const WorkDirectory::Opened*> WorkDirectory::opened() {
    const Lock guard(mutex_);
    return opened_locked();
}

Result<BranchId> WorkDirectory::id() {
    return TRY(opened())->id;
}

Result<int> WorkDirectory::work() {
    return TRY(opened())->work.get();
}

Result<int> WorkDirectory::intents() {
    return TRY(opened())->intents.get();
}

Result<void> WorkDirectory::expect_record_on(const BranchId& home) {
    const Lock guard(mutex_);
    Opened& opened = *TRY(opened_locked());
    if (std::ranges::find(opened.homes, home) != opened.homes.end()) return {};
    const std::string line = home + '\n';
    const int file = opened.mount_lock.get();
    const auto end = static_cast<off_t>(opened.homes.size() * line.size());
    const std::size_t written = TRY(sys::write_at(file, std::as_bytes(std::span(line)), end));
    if (written != line.size()) return fail(ENOSPC);
    TRY(sys::synchronize(file, false));
    opened.homes.push_back(home);
    return {};
}

Result<bool> WorkDirectory::has_records() {
    const Lock guard(mutex_);
    if (!opened_) return false;
    return has_intents(opened_->directory.get(), mount_);
}

Result<UniqueFd> WorkDirectory::overlay_base() const {
    return kind_ == Home::Apart ? sys::duplicate(home_) : open_existing();
}

std::string WorkDirectory::unique_name(std::string_view prefix) {
    static std::atomic<std::uint64_t> counter{0};
    return std::string(prefix) + '.' + std::to_string(++counter);
}

Result<Leftovers> WorkDirectory::claim_leftovers() const {
    Leftovers left;
    const auto directory = open_existing();
    if (!directory && is_missing(directory.error())) return left;
    if (!directory) return fail(directory.error());
    const auto locked = lock_against_others(directory->get());
    if (!locked && is_missing(locked.error())) return left;
    if (!locked) return fail(locked.error());

    auto id = read_branch_id(directory->get());
    if (!id && !is_missing(id.error())) return fail(id.error());
    if (id) left.id = *std::move(id);
    std::set<MountId> found;
    for (const char* const name : {"mounts", "work", "intents"}) {
        TRY(for_each_name_in(directory->get(), known(name), [&](std::string_view entry) {
            const auto mount = entry.substr(0, kIdDigits);
            if (is_id(mount) && mount != mount_) found.emplace(mount);
        }));
    }
    if (found.empty()) return left;
    const UniqueFd mounts = TRY(make_or_open_directory(directory->get(), known("mounts")));
    for (const MountId& mount : found) {
        const Name name = TRY(Name::from(mount));
        UniqueFd file = TRY(sys::open_at(mounts.get(), name, O_RDWR | O_CREAT, 0600));
        if (TRY(lock(file.get(), LOCK_EX | LOCK_NB)) == LockOutcome::Locked) {
            std::vector<BranchId> homes = TRY(read_homes(file.get()));
            left.dead.push_back({mount, std::move(file), std::move(homes)});
        } else {
            left.alive.push_back(mount);
        }
    }
    return left;
}

Result<UniqueFd> WorkDirectory::work_of(const MountId& mount) const {
    const UniqueFd directory = TRY(open_existing());
    const UniqueFd work = TRY(sys::open_directory_at(directory.get(), known("work")));
    return sys::open_directory_at(work.get(), TRY(Name::from(mount)));
}

Result<UniqueFd> WorkDirectory::existing_intents() const {
    const UniqueFd directory = TRY(open_existing());
    return sys::open_directory_at(directory.get(), known("intents"));
}

// Where overlayfs looks for it, if the work directory is shared with it.
Result<UniqueFd> WorkDirectory::make_index() {
    const int directory = kind_ == Home::Apart ? home_ : TRY(opened())->directory.get();
    UniqueFd index = TRY(make_or_open_directory(directory, known("index")));
    TRY(sys::synchronize_directory(directory));
    return index;
}

Result<UniqueFd> WorkDirectory::existing_index() const {
    if (kind_ == Home::Apart) return sys::open_directory_at(home_, known("index"));
    const UniqueFd directory = TRY(open_existing());
    return sys::open_directory_at(directory.get(), known("index"));
}

Result<std::uint64_t> WorkDirectory::sweep(const DeadMount& dead,
                                           const std::function<bool(std::string_view)>& keep,
                                           bool settled) const {
    std::uint64_t removed = 0;
    const auto work = work_of(dead.mount);
    if (work) {
        removed =
            TRY(format::sweep(work->get(), [&](std::string_view name) { return !keep(name); }));
    } else if (!is_missing(work.error())) {
        return fail(work.error());
    }
    if (!settled) return removed;
    const UniqueFd directory = TRY(open_existing());
    const UniqueFd locked = TRY(lock_against_others(directory.get()));
    TRY(remove_part(directory.get(), dead.mount));
    return removed;
}

Result<bool> WorkDirectory::remove_if_empty(bool settled) {
    const Lock guard(mutex_);
    const auto directory = open_existing();
    if (!directory && is_missing(directory.error())) return true;
    if (!directory) return fail(directory.error());
    const auto locked = lock_against_others(directory->get());
    if (!locked && is_missing(locked.error())) return true;
    if (!locked) return fail(locked.error());
    TRY(remove_own_part(directory->get(), settled));
    return remove_whole(directory->get());
}

Result<void> WorkDirectory::remove_own_part(int directory, bool settled) {
    if (!opened_) return {};
    if (settled && !TRY(has_intents(directory, mount_))) {
        std::ignore =
            TRY(format::sweep(opened_->work.get(), [](std::string_view) { return true; }));
        TRY(remove_part(directory, mount_));
    }
    opened_.reset();
    return {};
}

Result<void> WorkDirectory::leave(bool settled) {
    const Lock guard(mutex_);
    if (!opened_) return {};
    const UniqueFd directory = TRY(open_existing());
    const UniqueFd locked = TRY(lock_against_others(directory.get()));
    return remove_own_part(directory.get(), settled);
}

}  // namespace plyfs
