// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/policy.h"

#include <algorithm>
#include <cerrno>
#include <random>

namespace plyfs {
namespace {

using config::BranchMode;
using config::Function;
using config::Policy;
using Facts = std::span<const BranchFacts>;

// While a choice is made, a BranchList holds positions in the facts, which order the branches by
// precedence; to_branches() ends that.
void to_branches(BranchList& positions, Facts facts) {
    for (std::size_t& position : positions) position = facts[position].branch;
}

bool applies_to_all(Policy policy) {
    return policy == Policy::All || policy == Policy::EpAll;
}

// Policies that create only where the parent directory is. `newest` compares parents.
bool needs_parent(Policy policy) {
    switch (policy) {
        case Policy::EpAll:
        case Policy::EpFf:
        case Policy::EpMfs:
        case Policy::EpRand:
        case Policy::Newest: return true;
        case Policy::All:
        case Policy::Ff:
        case Policy::Lfs:
        case Policy::Mfs:
        case Policy::Pfrd:
        case Policy::Rand: return false;
    }
    return false;
}

// Freeing space is what a user can do; a read-only branch says at least that there is one.
int more_useful(int left, int right) {
    for (const int error : {ENOSPC, EROFS}) {
        if (left == error || right == error) return error;
    }
    return ENOENT;
}

// 0, or why nothing can be created there.
int create_refusal(const BranchFacts& facts, bool parent_needed) {
    if (parent_needed && !facts.exists) return ENOENT;
    if (facts.mode != BranchMode::ReadWrite || facts.file_system_read_only) return EROFS;
    if (facts.available < facts.min_free_space) return ENOSPC;
    return 0;
}

int action_refusal(const BranchFacts& facts) {
    if (!facts.exists) return ENOENT;
    if (facts.mode == BranchMode::ReadOnly || facts.file_system_read_only) return EROFS;
    return 0;
}

int search_refusal(const BranchFacts& facts) {
    return facts.exists ? 0 : ENOENT;
}

// The positions of the branches that `refusal` lets through; never empty.
template <typename Refusal>
Result<BranchList> eligible(Facts facts, Refusal refusal) {
    BranchList positions;
    positions.reserve(facts.size());
    int error = ENOENT;
    for (std::size_t position = 0; position < facts.size(); ++position) {
        if (const int reason = refusal(facts[position])) {
            error = more_useful(error, reason);
        } else {
            positions.push_back(position);
        }
    }
    if (positions.empty()) return fail(error);
    return positions;
}

// Best first. Equal ones stay in order of precedence. Insertion, since
// std::stable_sort allocates and there are few branches.
template <typename Better>
void sort_by(BranchList& positions, Better better) {
    for (auto next = positions.begin(); next != positions.end(); ++next) {
        const auto place = std::upper_bound(positions.begin(), next, *next, better);
        std::rotate(place, next, next + 1);
    }
}

// Each place in turn is drawn from the branches that are left, with chances in proportion to
// their available space. What has none comes last, in order of precedence.
void draw_by_space(BranchList& positions, Facts facts, RandomSource& random) {
    // In units of 4 KiB, so that no sum of real disks overflows.
    const auto weight = [&](std::size_t position) { return facts[position].available >> 12; };
    std::uint64_t total = 0;
    for (const std::size_t position : positions) total += weight(position);
    for (auto place = positions.begin(); total != 0; ++place) {
        std::uint64_t ticket = std::uniform_int_distribution<std::uint64_t>(0, total - 1)(random);
        auto drawn = place;
        while (ticket >= weight(*drawn)) ticket -= weight(*drawn++);
        total -= weight(*drawn);
        std::rotate(place, drawn, drawn + 1);
    }
}

// Puts the positions, which come in order of precedence, in the policy's order.
void rank(Policy policy, BranchList& positions, Facts facts, RandomSource& random) {
    switch (policy) {
        case Policy::All:
        case Policy::EpAll:
        case Policy::EpFf:
        case Policy::Ff: return;
        case Policy::EpMfs:
        case Policy::Mfs:
            return sort_by(positions, [&](std::size_t left, std::size_t right) {
                return facts[left].available > facts[right].available;
            });
        case Policy::Lfs:
            return sort_by(positions, [&](std::size_t left, std::size_t right) {
                return facts[left].available < facts[right].available;
            });
        case Policy::Newest:
            return sort_by(positions, [&](std::size_t left, std::size_t right) {
                return facts[left].modification_time > facts[right].modification_time;
            });
        case Policy::EpRand:
        case Policy::Rand: return std::shuffle(positions.begin(), positions.end(), random);
        case Policy::Pfrd: return draw_by_space(positions, facts, random);
    }
}

}  // namespace

Result<CreateChoice> choose_create(Policy policy, Function function, Facts facts,
                                   RandomSource& random) {
    const bool parent_needed = needs_parent(policy);
    CreateChoice choice;
    choice.targets = TRY(eligible(facts, [parent_needed](const BranchFacts& branch) {
        return create_refusal(branch, parent_needed);
    }));
    rank(policy, choice.targets, facts, random);
    to_branches(choice.targets, facts);
    if (!applies_to_all(policy) || function == Function::Create) {
        choice.fallbacks.assign(choice.targets.begin() + 1, choice.targets.end());
        choice.targets.resize(1);
    }
    return choice;
}

Result<BranchList> choose_action(Policy policy, Facts facts, RandomSource& random) {
    BranchList chosen = TRY(eligible(facts, action_refusal));
    rank(policy, chosen, facts, random);
    if (!applies_to_all(policy)) chosen.resize(1);
    to_branches(chosen, facts);
    return chosen;
}

Result<BranchList> choose_search(Policy policy, Facts facts, RandomSource& random) {
    BranchList chosen = TRY(eligible(facts, search_refusal));
    rank(policy, chosen, facts, random);
    to_branches(chosen, facts);
    return chosen;
}

Policy policy_for(const config::PolicyOptions& options, Function function) {
    const auto own = options.functions.find(function);
    if (own != options.functions.end()) return own->second;
    switch (function) {
        case Function::Create:
        case Function::Mkdir:
        case Function::Mknod:
        case Function::Symlink: return options.create;
        case Function::Access:
        case Function::Getattr:
        case Function::Getxattr:
        case Function::Listxattr:
        case Function::Open:
        case Function::Readlink: return options.search;
        case Function::Chmod:
        case Function::Chown:
        case Function::Link:
        case Function::Removexattr:
        case Function::Rename:
        case Function::Rmdir:
        case Function::Setxattr:
        case Function::Truncate:
        case Function::Unlink:
        case Function::Utimens: return options.action;
    }
    return options.search;
}

}  // namespace plyfs
