// SPDX-License-Identifier: GPL-2.0-or-later
//
// How a search goes through the layers. Two tiers: writable branches are a pool, in which a mark
// hides nothing but what read-only branches have; among read-only branches each hides what is below
// it, as in the kernel's overlayfs (fs/overlayfs/namei.c).
#include "format/whiteout.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

std::string joined(const std::vector<std::string>& components) {
    std::string path;
    for (const std::string& component : components) {
        if (!path.empty()) path += '/';
        path += component;
    }
    return path;
}

}  // namespace

Result<std::optional<format::Redirect>> Union::redirect_of(int object) const {
    auto redirect = format::read_redirect(object, options_.marks);
    if (!redirect && redirect.error() == EINVAL) return fail(EIO);
    return redirect;
}

format::Redirect Union::redirected(const std::optional<format::Redirect>& current, std::size_t rest,
                                   format::Redirect found) {
    if (!current || !current->absolute) return found;
    const auto below = current->components.end() - static_cast<std::ptrdiff_t>(rest);
    format::Redirect next{true, {}};
    if (!found.absolute) next.components.assign(current->components.begin(), below - 1);
    next.components.insert(next.components.end(), found.components.begin(), found.components.end());
    next.components.insert(next.components.end(), below, current->components.end());
    return next;
}

Result<Union::Spot> Union::spot(const Node& parent, Name name, BranchIndex branch,
                                Descent& descent) const {
    if (!descent.redirect || !is_lower(branch)) {
        return Spot{TRY(open_directory(parent, branch)), name.string(), {}};
    }
    if (descent.redirect->absolute) return spot_from_root(branch, descent);
    const std::string& last = descent.redirect->components.back();
    std::string path = TRY(lower_path(parent, branch));
    if (!path.empty()) path += '/';
    return Spot{TRY(open_directory(parent, branch)), last, path + last};
}

// What hides or redirects on the way does so for the layers below (ovl_lookup_layer).
Result<Union::Spot> Union::spot_from_root(BranchIndex branch, Descent& descent) const {
    const std::vector<std::string> way = descent.redirect->components;
    auto directory = std::make_shared<const OpenDirectory>(TRY(open_base(branch, {})));
    for (std::size_t depth = 0; depth + 1 < way.size(); ++depth) {
        const Name name = TRY(Name::from(way[depth]));
        const LayerMarks marks = TRY(directory->marks(options_.marks));
        const auto sighting =
            TRY(format::look(directory->get(), name, marks.directory, options_.marks));
        if (sighting.kind == format::Sighting::Kind::Absent) return fail(ENOENT);
        if (sighting.kind == format::Sighting::Kind::Whiteout ||
            !sighting.attributes.is_directory()) {
            descent.ended = true;
            return fail(ENOENT);
        }
        auto next = std::make_shared<const OpenDirectory>(
            TRY(sys::open_directory_at(directory->get(), name)));
        const LayerMarks own = TRY(next->marks(options_.marks));
        if (own.directory.opaque ||
            TRY(format::has_dot_whiteout(directory->get(), name, options_.marks))) {
            descent.ended = true;
        }
        if (own.redirected) {
            auto found = TRY(redirect_of(next->get()));
            if (found) {
                descent.redirect =
                    redirected(descent.redirect, way.size() - depth - 1, *std::move(found));
            }
        }
        directory = std::move(next);
    }
    return Spot{std::move(directory), way.back(), joined(way)};
}

Result<void> Union::see(const Node& parent, Name name, BranchIndex branch, Descent& descent,
                        Hits& hits) const {
    auto place = spot(parent, name, branch, descent);
    // Removed behind the mount since the parent was looked up.
    if (!place && is_absent(place.error())) return {};
    if (!place) return fail(place.error());
    if (!layered_) {
        const auto attributes = sys::stat_at(place->directory->get(), name);
        if (!attributes && attributes.error() == ENOENT) return {};
        if (!attributes) return fail(attributes.error());
        hits.push_back({branch, std::move(place->directory), *attributes});
        return {};
    }
    const int directory = place->directory->get();
    const Name leaf = TRY(Name::from(place->name));
    const LayerMarks marks = TRY(place->directory->marks(options_.marks));
    const auto sighting =
        TRY(format::look(directory, leaf, marks.directory, options_.marks, descent.below));
    using Kind = format::Sighting::Kind;
    if (sighting.kind == Kind::Absent) return {};
    if (sighting.kind == Kind::Whiteout) {
        if (is_lower(branch)) {
            descent.ended = true;
        } else {
            hits.whiteouts.push_back(branch);
        }
        return {};
    }
    const bool is_directory = sighting.attributes.is_directory();
    // Below directories, a file ends the search and is not seen (ovl_lookup_layer).
    if (is_lower(branch) && !hits.empty() && !is_directory) {
        descent.ended = true;
        return {};
    }
    Hit hit{branch, place->directory, sighting.attributes, {}, std::move(place->lower_path)};
    if (!is_directory) {
        descent.ended = true;
    } else if (branch + 1U < branches_.size()) {
        const NodeRef node = nodes_.find_directory(parent, name);
        if (node) hit.self = cache_.find(node->id, branch, sighting.attributes.real);
        if (!hit.self) {
            hit.self =
                std::make_shared<const OpenDirectory>(TRY(sys::open_directory_at(directory, leaf)));
        }
        const LayerMarks own = TRY(hit.self->marks(options_.marks));
        const bool opaque =
            own.directory.opaque || TRY(format::has_dot_whiteout(directory, leaf, options_.marks));
        if (opaque) descent.ended = true;
        if (own.redirected && (is_lower(branch) || !descent.redirect)) {
            auto found = TRY(redirect_of(hit.self->get()));
            if (found) descent.redirect = redirected(descent.redirect, 0, *std::move(found));
        }
    }
    hits.push_back(std::move(hit));
    return {};
}

Result<bool> Union::is_covered(const Node& parent, Name name) const {
    if (!layered_) return false;
    for (const BranchIndex branch : nodes_.stack(parent)) {
        if (!is_lower(branch)) continue;
        const auto directory = open_directory(parent, branch);
        if (!directory && is_absent(directory.error())) continue;
        if (!directory) return fail(directory.error());
        const LayerMarks marks = TRY((*directory)->marks(options_.marks));
        const auto sighting =
            TRY(format::look((*directory)->get(), name, marks.directory, options_.marks));
        if (sighting.kind != format::Sighting::Kind::Absent) {
            return sighting.kind == format::Sighting::Kind::Object;
        }
    }
    return false;
}

}  // namespace plyfs
