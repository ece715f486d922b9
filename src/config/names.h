// SPDX-License-Identifier: GPL-2.0-or-later
//
// The words that stand for enumerators in YAML, in mount options and in what plyfs prints. Each
// table is in the order in which help lists it. Constant data.
#pragma once

#include <span>
#include <string_view>

#include "config/options.h"

namespace plyfs::config {

template <typename Enum>
struct Named {
    std::string_view name;
    Enum value;
};

enum class Category : std::uint8_t { Create, Search, Action };

std::span<const Named<BranchMode>> branch_mode_names();
std::span<const Named<Policy>> policy_names();
std::span<const Named<Function>> function_names();
std::span<const Named<WhiteoutForm>> whiteout_form_names();
std::span<const Named<MarkNames>> mark_names_names();
std::span<const Named<Readers>> readers_names();
std::span<const Named<LockScope>> lock_scope_names();
std::span<const Named<LogLevel>> log_level_names();

// The category whose policy a function follows unless it has its own.
Category category_of(Function function);

template <typename Enum>
std::string_view name_of(std::span<const Named<Enum>> names, Enum value) {
    for (const auto& named : names)
        if (named.value == value) return named.name;
    return "";
}

}  // namespace plyfs::config
