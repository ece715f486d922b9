// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/whiteout_maker.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>

#include "format/directory_marks.h"
#include "format/temporary_name.h"
#include "format/whiteout.h"
#include "sys/entry.h"
#include "sys/open.h"

namespace plyfs::format {

WhiteoutMaker::WhiteoutMaker(int work, const MarkFormat& format) : work_(work), format_(format) {}

Result<void> WhiteoutMaker::make_inode(Name name) const {
    // overlayfs: vfs_whiteout() makes them with mode 0, which also lets nobody open them.
    if (format_.whiteout == WhiteoutKind::Device) {
        return sys::make_node(work_, name, S_IFCHR, 0);
    }
    const UniqueFd file = TRY(sys::open_at(work_, name, O_WRONLY | O_CREAT | O_EXCL, 0));
    if (format_.whiteout == WhiteoutKind::DotFile) return {};
    auto marked = write_mark(file.get(), Mark::Whiteout, format_, "y");
    if (!marked) (void)sys::remove_name(work_, name);  // the first error is the one to tell
    return marked;
}

Result<std::string> WhiteoutMaker::shared(const std::string& exhausted) {
    const Lock lock(mutex_);
    if (!shared_.empty() && shared_ != exhausted) return shared_;
    if (!shared_.empty()) {
        (void)sys::remove_name(work_, TRY(Name::from(shared_)));  // else it is swept later
        shared_.clear();
    }
    shared_ = TRY(make_temporary([&](Name name) { return make_inode(name); }));
    return shared_;
}

Result<void> WhiteoutMaker::prepare() {
    if (auto made = shared({}); !made) return fail(made.error());
    return {};
}

Result<void> WhiteoutMaker::release() {
    const Lock lock(mutex_);
    if (shared_.empty()) return {};
    const auto removed = sys::remove_name(work_, TRY(Name::from(shared_)));
    shared_.clear();
    if (!removed && removed.error() == ENOENT) return {};
    return removed;
}

Result<void> WhiteoutMaker::link_or_make(int directory, Name name) {
    std::string exhausted;
    for (int attempt = 0;; ++attempt) {
        const std::string source = TRY(shared(exhausted));
        const Name source_name = TRY(Name::from(source));
        const auto linked = sys::link(work_, source_name, directory, name);
        if (linked) return {};
        const Errno error = linked.error();
        // ENOENT: somebody swept the work directory; or `directory` is gone, told at the end.
        const bool used_up = error == EMLINK || error == ENOENT;
        if (used_up && attempt < 2) {
            exhausted = source;
            continue;
        }
        if (error != EPERM && error != EOPNOTSUPP) return fail(error);
        return make_in_place(directory, name);
    }
}

Result<void> WhiteoutMaker::make_in_place(int directory, Name name) const {
    const auto make = [&](Name fresh) { return make_inode(fresh); };
    const std::string text = TRY(make_temporary(make));
    const Name source = TRY(Name::from(text));
    auto moved = sys::rename(work_, source, directory, name, RENAME_NOREPLACE);
    if (!moved) (void)sys::remove_name(work_, source);  // the first error is the one to tell
    return moved;
}

Result<std::string> WhiteoutMaker::stage() {
    return make_temporary([&](Name name) { return link_or_make(work_, name); });
}

Result<bool> WhiteoutMaker::place_dot_file(int directory, Name dot) {
    const auto placed = link_or_make(directory, dot);
    if (placed) return true;
    if (placed.error() == EEXIST) return false;
    return fail(placed.error());
}

Result<void> WhiteoutMaker::place(int directory, Name name) {
    if (format_.whiteout == WhiteoutKind::DotFile) {
        const std::string dot = TRY(dot_file_name(name));
        if (auto placed = place_dot_file(directory, TRY(Name::from(dot))); !placed) {
            return fail(placed.error());
        }
        return {};
    }
    if (format_.whiteout == WhiteoutKind::XattrFile) TRY(allow_whiteout_files(directory, format_));
    return link_or_make(directory, name);
}

Result<void> WhiteoutMaker::replace(int directory, Name name) {
    if (format_.whiteout == WhiteoutKind::DotFile) {
        const std::string text = TRY(dot_file_name(name));
        const Name dot = TRY(Name::from(text));
        const bool placed = TRY(place_dot_file(directory, dot));
        auto removed = sys::remove_name(directory, name);
        if (!removed && placed) (void)sys::remove_name(directory, dot);  // as it was before
        return removed;
    }
    if (format_.whiteout == WhiteoutKind::XattrFile) TRY(allow_whiteout_files(directory, format_));
    const std::string text = TRY(stage());
    const Name source = TRY(Name::from(text));
    auto replaced = sys::rename(work_, source, directory, name, 0);
    if (!replaced) (void)sys::remove_name(work_, source);  // the first error is the one to tell
    return replaced;
}

Result<std::string> WhiteoutMaker::exchange(int directory, Name name) {
    if (format_.whiteout == WhiteoutKind::DotFile) {
        const std::string text = TRY(dot_file_name(name));
        const Name dot = TRY(Name::from(text));
        const bool placed = TRY(place_dot_file(directory, dot));
        auto moved = make_temporary([&](Name target) {
            return sys::rename(directory, name, work_, target, RENAME_NOREPLACE);
        });
        if (!moved && placed) (void)sys::remove_name(directory, dot);  // as it was before
        return moved;
    }
    if (format_.whiteout == WhiteoutKind::XattrFile) TRY(allow_whiteout_files(directory, format_));
    std::string text = TRY(stage());
    const Name source = TRY(Name::from(text));
    const auto exchanged = sys::rename(work_, source, directory, name, RENAME_EXCHANGE);
    if (!exchanged) {
        (void)sys::remove_name(work_, source);  // the first error is the one to tell
        return fail(exchanged.error());
    }
    return text;
}

Result<void> remove_dot_whiteout(int directory, Name name) {
    const std::string text = TRY(dot_file_name(name));
    const auto removed = sys::remove_name(directory, TRY(Name::from(text)));
    if (!removed && removed.error() == ENOENT) return {};
    return removed;
}

}  // namespace plyfs::format
