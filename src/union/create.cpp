// SPDX-License-Identifier: GPL-2.0-or-later
//
// Making objects: the policy names the branches, the parents are made there if they lack, the
// object is made with the caller's ids, and where a branch has no room the next one is tried.
#include <fcntl.h>

#include <algorithm>

#include "sys/entry.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
std::optional<BranchFacts> Union::facts(BranchIndex index, bool exists,
                                        Timestamp modification_time) const {
    const Branch& branch = *branches_[index];
    BranchFacts facts;
    facts.branch = index;
    facts.mode = branch.mode();
    facts.exists = exists;
    facts.min_free_space = branch.min_free_space();
    facts.modification_time = modification_time;
    const auto space = branch.space().get();
    if (!space) return std::nullopt;
    facts.file_system_read_only = space->read_only;
    facts.available = space->available();
    return facts;
}

Result<std::vector<BranchFacts>> Union::facts(const Hits& hits) const {
    std::vector<BranchFacts> known;
    for (const Hit& hit : hits) {
        const auto one = facts(hit.branch, true, hit.attributes.modification_time);
        if (!one) return fail(EIO);
        known.push_back(*one);
    }
    std::ranges::sort(known, {}, &BranchFacts::branch);
    return known;
}

Result<CreateChoice> Union::choose_targets(const Node& parent, config::Function function,
                                           std::optional<config::Policy> instead) const {
    const config::Policy policy = instead.value_or(policy_for(options_.policies, function));
    const Stack stack = nodes_.stack(parent);
    // A directory that was removed takes no names any more (POSIX, open()).
    if (stack.empty() || !nodes_.route(parent)) return fail(ENOENT);
    // Where only layers have the directory it has to be made: on one branch as well as on another.
    const bool only_below =
        std::ranges::all_of(stack, [&](BranchIndex branch) { return is_lower(branch); });
    std::vector<BranchFacts> candidates;
    candidates.reserve(branches_.size());
    for (std::size_t index = 0; index < branches_.size(); ++index) {
        const auto branch = static_cast<BranchIndex>(index);
        bool exists = only_below || std::ranges::binary_search(stack, branch);
        Timestamp modification_time;
        if (exists && !only_below && policy == config::Policy::Newest) {
            const auto directory = open_directory(parent, branch);
            const auto attributes =
                directory ? sys::stat_descriptor((*directory)->get()) : fail(directory.error());
            exists = attributes.has_value();
            if (attributes) modification_time = attributes->modification_time;
        }
        const auto known = facts(branch, exists, modification_time);
        if (known) candidates.push_back(*known);
    }
    return choose_create(policy, function, candidates, thread_random_source());
}

Result<Stack> Union::check_absent(const Node& parent, Name name) const {
    if (hidden(parent, name)) return fail(EPERM);
    Hits hits = TRY(find(parent, name, Scope::Shown));
    if (!hits.empty()) return fail(EEXIST);
    return std::move(hits.whiteouts);
}

template <typename MakeOn>
auto Union::make_on_first(const NodeRef& parent, const BranchList& candidates, MakeOn&& make_on)
    -> decltype(make_on(BranchIndex{}, 0)) {
    std::optional<Errno> failure;
    for (const std::size_t candidate : candidates) {
        const auto branch = static_cast<BranchIndex>(candidate);
        auto directory = ensure_directory(parent, branch);
        if (directory) {
            auto made = make_on(branch, (*directory)->get());
            if (!made && made.error() == ENOENT) {
                // Removed behind the mount while it was kept open.
                drop_route(*parent, branch);
                directory = ensure_directory(parent, branch);
                if (directory) made = make_on(branch, (*directory)->get());
            }
            if (made || !another_may_do(made.error())) return made;
            failure = made.error();
        } else if (another_may_do(directory.error()) || directory.error() == EPERM) {
            // EPERM: the parent is somebody else's, and who is not root can't make a copy of it.
            failure = directory.error();
        } else if (!is_absent(directory.error())) {
            return fail(directory.error());
        }
        // Else something of another kind is where a parent should be made on that branch.
        branches_[branch]->space().expire();
    }
    return fail(failure.value_or(Errno(ENOTDIR)));
}

void Union::drop_route(const Node& node, BranchIndex branch) {
    cache_.drop(node.id, {branch});
    const auto route = nodes_.route(node);
    if (!route) return;
    for (const RouteStep& step : *route) cache_.drop(step.node, {branch});
}

Result<Entry> Union::make_object(const Request& request, const NodeRef& parent, Name name,
                                 config::Function function, const Make& make) {
    TRY(request.journal.begin("make"));
    const Lock lock(parent->mutex);
    const Stack whiteouts = TRY(check_absent(*parent, name));
    TRY(check_adding(*parent));
    const CreateChoice choice = TRY(choose_targets(*parent, function));
    const auto make_on = [&](BranchIndex branch, int directory) {
        return make_as_caller(request, {branch, directory, name}, whiteouts, make);
    };
    BranchList first = choice.targets;
    if (first.size() == 1) {
        first.insert(first.end(), choice.fallbacks.begin(), choice.fallbacks.end());
        TRY(make_on_first(parent, first, make_on));
    } else {
        // `all`, `epall`: on each; one that took it makes the verb succeed, as in mergerfs.
        std::optional<Errno> failure;
        bool made_one = false;
        for (const std::size_t target : first) {
            const auto made = make_on_first(parent, {target}, make_on);
            made_one = made_one || made.has_value();
            if (!made && !failure) failure = made.error();
        }
        if (!made_one) return fail(*failure);
    }
    const Hits hits = TRY(find(*parent, name, Scope::Shown));
    if (hits.empty()) return fail(ENOENT);
    return entry(intern(parent, name, hits), hits, name);
}

Result<Entry> Union::mknod(const Request& request, NodeId parent, Name name, mode_t mode,
                           dev_t device) {
    // It would be a whiteout (overlayfs: ovl_mknod).
    if (layered_ && S_ISCHR(mode) && device == 0) return fail(EPERM);
    return make_object(request, TRY(directory(parent)), name, config::Function::Mknod,
                       [&](int at) { return sys::make_node(at, name, mode, device); });
}

Result<Entry> Union::mkdir(const Request& request, NodeId parent, Name name, mode_t mode) {
    return make_object(request, TRY(directory(parent)), name, config::Function::Mkdir,
                       [&](int at) { return sys::make_directory(at, name, mode); });
}

Result<Entry> Union::symlink(const Request& request, NodeId parent, Name name, const char* target) {
    return make_object(request, TRY(directory(parent)), name, config::Function::Symlink,
                       [&](int at) { return sys::make_symlink(at, name, target); });
}

OpenedFile Union::opened(FileHandle handle, const Attributes& attributes) {
    auto file = std::make_shared<FileHandle>(std::move(handle));
    const HandleId id = files_.insert(file);
    return {id, std::move(file), attributes};
}

template <typename OpenOn>
Result<Union::MadeFile> Union::make_file(const NodeRef& parent, OpenOn&& open_on) {
    const CreateChoice choice = TRY(choose_targets(*parent, config::Function::Create));
    BranchList candidates = choice.targets;
    candidates.insert(candidates.end(), choice.fallbacks.begin(), choice.fallbacks.end());
    BranchIndex branch = 0;
    UniqueFd descriptor =
        TRY(make_on_first(parent, candidates, [&](BranchIndex index, int at) -> Result<UniqueFd> {
            branch = index;
            return open_on(index, at);
        }));
    Attributes attributes = TRY(sys::stat_descriptor(descriptor.get()));
    attributes.inode = TRY(inode_of(attributes, descriptor.get()));
    return MadeFile{std::move(descriptor), attributes, branch};
}

CreatedFile Union::hand_out(MadeFile made, const NodeRef& node, int flags) {
    node->own_data = true;
    nodes_.count_lookup(node);
    return {{node->id, made.attributes},
            opened({std::move(made.descriptor), node, made.attributes.real, made.branch, flags},
                   made.attributes)};
}

Result<CreatedFile> Union::create(const Request& request, NodeId parent_id, Name name, mode_t mode,
                                  int flags) {
    TRY(request.journal.begin("create"));
    const NodeRef parent = TRY(directory(parent_id));
    const Lock lock(parent->mutex);
    const Stack whiteouts = TRY(check_absent(*parent, name));
    TRY(check_adding(*parent));
    const auto open_on = [&](BranchIndex branch, int at) -> Result<UniqueFd> {
        UniqueFd opened;
        const auto make = [&](int directory) -> Result<void> {
            opened =
                TRY(sys::open_at(directory, name, open_file_flags(flags) | O_CREAT | O_EXCL, mode));
            return {};
        };
        TRY(make_as_caller(request, {branch, at, name}, whiteouts, make));
        return opened;
    };
    MadeFile made = TRY(make_file(parent, open_on));
    const NodeRef node =
        nodes_.object_at(parent, name, made.attributes.real, made.attributes.mode, made.branch);
    return hand_out(std::move(made), node, flags);
}

Result<CreatedFile> Union::tmpfile(const Request& request, NodeId parent_id, mode_t mode,
                                   int flags) {
    TRY(request.journal.begin("tmpfile"));
    const NodeRef parent = TRY(directory(parent_id));
    const Lock lock(parent->mutex);
    TRY(check_adding(*parent));
    MadeFile made = TRY(make_file(parent, [&](BranchIndex, int at) {
        const sys::ActAs caller(request.caller);
        return sys::open_temporary(at, open_file_flags(flags) | (flags & O_EXCL), mode);
    }));
    auto held = std::make_shared<UniqueFd>(TRY(sys::duplicate(made.descriptor.get())));
    const NodeRef node = nodes_.unnamed_object(made.attributes.real, made.attributes.mode,
                                               made.branch, std::move(held));
    return hand_out(std::move(made), node, flags);
}

}  // namespace plyfs
