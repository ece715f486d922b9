// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/sweep.h"

#include <cstdio>
#include <string>
#include <vector>

#include "format/temporary_name.h"
#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/open.h"

namespace plyfs::format {
namespace {

using Names = std::vector<std::string>;

Result<Names> names_in(int directory) {
    Names names;
    auto reader = TRY(sys::DirectoryReader::open(directory));
    while (TRY(reader.fill())) {
        reader.for_each([&](const sys::RawEntry& entry) { names.emplace_back(entry.name); });
    }
    return names;
}

// Removes the object, or its directory if that is empty. False: it is not.
Result<bool> remove_shallow(int directory, Name name) {
    const auto removed = sys::remove_name(directory, name);
    if (removed) return true;
    if (removed.error() != EISDIR) return fail(removed.error());
    const auto empty = sys::remove_directory(directory, name);
    if (empty) return true;
    if (empty.error() != ENOTEMPTY && empty.error() != EEXIST) return fail(empty.error());
    return false;
}

}  // namespace

Result<std::uint64_t> sweep(int directory, const std::function<bool(std::string_view)>& stale) {
    std::uint64_t removed = 0;
    Names waiting = TRY(names_in(directory));
    std::erase_if(waiting, [&](const std::string& name) { return !stale(name); });
    while (!waiting.empty()) {
        const std::string text = std::move(waiting.back());
        waiting.pop_back();
        const Name name = TRY(Name::from(text));
        if (TRY(remove_shallow(directory, name))) {
            ++removed;
            continue;
        }
        const UniqueFd inner = TRY(sys::open_directory_at(directory, name));
        for (const std::string& child : TRY(names_in(inner.get()))) {
            const Name child_name = TRY(Name::from(child));
            if (TRY(remove_shallow(inner.get(), child_name))) {
                ++removed;
                continue;
            }
            waiting.push_back(TRY(make_temporary([&](Name target) {
                return sys::rename(inner.get(), child_name, directory, target, RENAME_NOREPLACE);
            })));
        }
        TRY(sys::remove_directory(directory, name));
        ++removed;
    }
    return removed;
}

}  // namespace plyfs::format
