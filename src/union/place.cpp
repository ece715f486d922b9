// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/place.h"

#include <cstdio>
#include <ranges>
#include <string_view>

#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "sys/statx.h"

namespace plyfs {
namespace {

Result<Found> look(int directory, const std::string& name, const Identity& identity) {
    if (directory < 0) return Found::Nothing;
    const auto attributes = sys::stat_at(directory, TRY(Name::from(name)));
    if (!attributes && attributes.error() == ENOENT) return Found::Nothing;
    if (!attributes) return fail(attributes.error());
    return Identity::of(*attributes) == identity ? Found::Same : Found::Other;
}

Result<void> rename(int from, const std::string& from_name, int to, const std::string& to_name,
                    unsigned flags) {
    if (from < 0 || to < 0) return fail(ENOENT);
    return sys::rename(from, TRY(Name::from(from_name)), to, TRY(Name::from(to_name)), flags);
}

Result<void> rename_no_replace(int from, const std::string& from_name, int to,
                               const std::string& to_name) {
    const auto renamed = rename(from, from_name, to, to_name, RENAME_NOREPLACE);
    if (renamed || renamed.error() != EINVAL) return renamed;
    if (TRY(look(to, to_name, {})) != Found::Nothing) return fail(EEXIST);
    return rename(from, from_name, to, to_name, 0);
}

Result<void> remove_object(int directory, const std::string& text, bool is_directory) {
    const Name name = TRY(Name::from(text));
    return is_directory ? sys::remove_directory(directory, name)
                        : sys::remove_name(directory, name);
}

}  // namespace

Result<Found> look(const Place& place, const Identity& identity) {
    return look(place.directory, place.name, identity);
}

Result<Found> look(const Grave& grave, const Identity& identity) {
    return look(grave.directory, grave.name, identity);
}

Result<void> rename_place(const Place& from, const Place& to, unsigned flags) {
    return rename(from.directory, from.name, to.directory, to.name, flags);
}

Result<void> exchange(const Place& from, const Place& to) {
    return rename_place(from, to, RENAME_EXCHANGE);
}

Result<void> move_to(const Place& from, const Place& to) {
    return rename_no_replace(from.directory, from.name, to.directory, to.name);
}

Result<void> entomb(const Place& place, const Grave& grave) {
    if (grave.directory < 0) return fail(EXDEV);
    return rename_no_replace(place.directory, place.name, grave.directory, grave.name);
}

Result<void> exhume(const Grave& grave, const Identity& identity, const Place& place) {
    if (TRY(look(grave, identity)) != Found::Same) return {};
    return rename_no_replace(grave.directory, grave.name, place.directory, place.name);
}

Result<void> remove_object(const Place& place, bool is_directory) {
    return remove_object(place.directory, place.name, is_directory);
}

Result<void> remove_object(const Grave& grave, bool is_directory) {
    return remove_object(grave.directory, grave.name, is_directory);
}

Result<void> refuse_unless_empty(int parent, const std::string& name) {
    const UniqueFd directory = TRY(sys::open_directory_at(parent, TRY(Name::from(name))));
    const auto counts = [](std::string_view) { return true; };
    if (!TRY(sys::is_empty(directory.get(), counts))) return fail(ENOTEMPTY);
    return {};
}

Result<void> run_alone(const Step& step) {
    if (const auto* move = std::get_if<Move>(&step)) {
        if (TRY(look(move->from, move->identity)) != Found::Same) return fail(ESTALE);
        if (move->mode == Move::Mode::Exchange) return exchange(move->from, move->to);
        return move_to(move->from, move->to);
    }
    if (const auto* replace = std::get_if<Replace>(&step)) {
        if (TRY(look(replace->from, replace->identity)) != Found::Same) return fail(ESTALE);
        if (TRY(look(replace->to, replace->victim)) == Found::Other) return fail(ESTALE);
        return rename_place(replace->from, replace->to, 0);
    }
    const auto& bury = std::get<Bury>(step);
    switch (TRY(look(bury.place, bury.identity))) {
        case Found::Nothing: return {};
        case Found::Same: return remove_object(bury.place, bury.is_directory);
        case Found::Other: break;
    }
    return fail(ESTALE);
}

Result<void> remove_without_record(const Plan& plan) {
    for (const Step& step : plan) {
        const auto* bury = std::get_if<Bury>(&step);
        if (bury == nullptr) return fail(EINVAL);
        if (!bury->is_directory || TRY(look(bury->place, bury->identity)) != Found::Same) continue;
        TRY(refuse_unless_empty(bury->place.directory, bury->place.name));
    }
    for (const Step& step : plan | std::views::reverse) TRY(run_alone(step));
    return {};
}

}  // namespace plyfs
