// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/overlay_work.h"

#include <fcntl.h>

#include <algorithm>
#include <tuple>

#include "format/sweep.h"
#include "format/temporary_name.h"
#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/metadata.h"
#include "sys/open.h"
#include "sys/small_file.h"

namespace plyfs::format {
namespace {

constexpr char kWork[] = "work";
constexpr char kIndex[] = "index";
constexpr char kIncompatible[] = "incompat";
constexpr char kVolatile[] = "volatile";
constexpr char kDirty[] = "dirty";

// A literal that is known to be one.
Name known(const char* text) {
    return *Name::from(text);
}

Result<void> remove_acl(int directory, const char* name) {
    const auto removed = sys::remove_xattr(directory, name);
    if (!removed && (removed.error() == ENODATA || removed.error() == EOPNOTSUPP)) return {};
    return removed;
}

Result<UniqueFd> make_or_open(int parent, Name name) {
    const auto made = sys::make_directory(parent, name, 0700);
    if (!made && made.error() != EEXIST) return fail(made.error());
    UniqueFd directory = TRY(sys::open_directory_at(parent, name));
    if (!made) return directory;
    TRY(remove_acl(directory.get(), "system.posix_acl_default"));
    TRY(remove_acl(directory.get(), "system.posix_acl_access"));
    TRY(sys::change_mode(directory.get(), 0700));
    return directory;
}

// The directory at the end of `path`; none where one of them is missing or something else.
Result<UniqueFd> open_if_there(int base, const std::string& path) {
    auto directory = sys::open_directory_beneath(base, path);
    if (directory) return directory;
    if (directory.error() == ENOENT || directory.error() == ENOTDIR) return UniqueFd{};
    return fail(directory.error());
}

Result<void> gone(Result<void> removed) {
    if (!removed && removed.error() == ENOENT) return {};
    return removed;
}

}  // namespace

Result<std::vector<std::string>> incompatible_features(int base) {
    std::vector<std::string> features;
    const UniqueFd directory = TRY(open_if_there(base, std::string(kWork) + '/' + kIncompatible));
    if (!directory) return features;
    auto reader = TRY(sys::DirectoryReader::open(directory.get()));
    while (TRY(reader.fill())) {
        reader.for_each([&](const sys::RawEntry& entry) { features.emplace_back(entry.name); });
    }
    std::ranges::sort(features);
    return features;
}

Result<OverlayWork> open_overlay_work(int base, bool with_index) {
    if (!TRY(incompatible_features(base)).empty()) return fail(EINVAL);
    OverlayWork opened;
    opened.work = TRY(make_or_open(base, known(kWork)));
    std::ignore = TRY(sweep(opened.work.get(), [](std::string_view) { return true; }));
    if (with_index) {
        opened.index = TRY(make_or_open(base, known(kIndex)));
        std::ignore = TRY(sweep(opened.index.get(), is_temporary_name));
    }
    return opened;
}

Result<void> set_volatile(int base) {
    UniqueFd parent = TRY(make_or_open(base, known(kWork)));
    for (const char* const name : {kIncompatible, kVolatile}) {
        UniqueFd child = TRY(make_or_open(parent.get(), known(name)));
        TRY(sys::synchronize_directory(parent.get()));
        parent = std::move(child);
    }
    const auto made = sys::write_new_file(parent.get(), known(kDirty), {}, 0600);
    if (!made && made.error() != EEXIST) return made;
    return sys::synchronize_directory(parent.get());
}

Result<void> remove_volatile(int base) {
    const std::string incompatible = std::string(kWork) + '/' + kIncompatible;
    const UniqueFd features = TRY(open_if_there(base, incompatible));
    if (!features) return {};
    const UniqueFd mark = TRY(open_if_there(features.get(), kVolatile));
    if (mark) TRY(gone(sys::remove_name(mark.get(), known(kDirty))));
    TRY(gone(sys::remove_directory(features.get(), known(kVolatile))));
    const UniqueFd work = TRY(sys::open_directory_at(base, known(kWork)));
    const auto removed = gone(sys::remove_directory(work.get(), known(kIncompatible)));
    if (!removed && removed.error() == ENOTEMPTY) return {};  // features of others
    return removed;
}

}  // namespace plyfs::format
