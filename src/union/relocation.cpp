// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/relocation.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "sys/file_handle.h"
#include "sys/open.h"
#include "sys/statx.h"

namespace plyfs {
namespace {

// Enough for some renames of several ancestors each; a directory beyond is given up.
constexpr std::size_t kMostCandidates = 256;

// Of a path given to one system call; PATH_MAX counts the final NUL.
constexpr std::size_t kLongestWalk = 4000;  // bytes

std::string path_of(const Place& place) {
    return place.parent.empty() ? place.name : place.parent + '/' + place.name;
}

// `path` with its beginning `from` replaced; none: it does not lie there.
std::optional<std::string> shifted(std::string_view path, std::string_view from,
                                   std::string_view to) {
    if (!path.starts_with(from)) return std::nullopt;
    const std::string_view rest = path.substr(from.size());
    if (!rest.empty() && !rest.starts_with('/')) return std::nullopt;
    return std::string(to) + std::string(rest);
}

// A path may be longer than one system call takes: names are up to NAME_MAX, trees as deep as
// they like.
Result<UniqueFd> walk(int root, std::string_view path) {
    UniqueFd at = TRY(sys::duplicate(root));
    while (!path.empty()) {
        std::size_t size = path.size();
        if (size > kLongestWalk) size = path.rfind('/', kLongestWalk);
        if (size == std::string_view::npos || size == 0) return fail(ENOENT);
        at = TRY(sys::open_directory_beneath(at.get(), std::string(path.substr(0, size))));
        path.remove_prefix(std::min(size + 1, path.size()));
    }
    return at;
}

Result<bool> is_meant(int directory, const Place& place) {
    return Identity::of(TRY(sys::stat_descriptor(directory))) == place.parent_identity;
}

bool is_elsewhere(Errno error) {
    return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EXDEV ||
           error == ENAMETOOLONG;
}

}  // namespace

void Relocation::learn(const Plan& plan, const std::vector<std::size_t>& branches) {
    const auto note = [&](std::size_t branch, const Place& from, const Place& to) {
        // Nothing that others name goes in or out.
        if (from.parent == kWorkPlace || to.parent == kWorkPlace) return;
        shifts_.push_back({branches[branch], path_of(from), path_of(to)});
        shifts_.push_back({branches[branch], path_of(to), path_of(from)});
    };
    for (const Step& step : plan) {
        if (const auto* move = std::get_if<Move>(&step)) note(move->branch, move->from, move->to);
        if (const auto* replace = std::get_if<Replace>(&step)) {
            note(replace->branch, replace->from, replace->to);
        }
    }
}

Result<UniqueFd> Relocation::find(std::size_t branch, int root, const Place& place) const {
    if (!place.parent_handle.empty()) {
        // Without the right to open handles, or on another mount below the branch: by path.
        auto opened = sys::open_file_handle(root, place.parent_handle, O_PATH | O_DIRECTORY);
        if (opened && TRY(is_meant(opened->get(), place))) return opened;
    }
    std::vector<std::string> candidates{place.parent};
    for (std::size_t next = 0; next < candidates.size(); ++next) {
        auto opened = walk(root, candidates[next]);
        if (!opened && !is_elsewhere(opened.error())) return opened;
        if (opened && TRY(is_meant(opened->get(), place))) return opened;
        for (const Shift& shift : shifts_) {
            if (shift.branch != branch || candidates.size() >= kMostCandidates) continue;
            auto path = shifted(candidates[next], shift.from, shift.to);
            if (!path || std::ranges::find(candidates, *path) != candidates.end()) continue;
            candidates.push_back(*std::move(path));
        }
    }
    return UniqueFd();
}

}  // namespace plyfs
