// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/plan_run.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/small_file.h"
#include "sys/statx.h"

namespace plyfs {
namespace {

enum class Found { Nothing, Same, Other };

Result<Found> look(int directory, const std::string& name, const Identity& identity) {
    if (directory < 0) return Found::Nothing;
    const auto attributes = sys::stat_at(directory, TRY(Name::from(name)));
    if (!attributes && attributes.error() == ENOENT) return Found::Nothing;
    if (!attributes) return fail(attributes.error());
    return Identity::of(*attributes) == identity ? Found::Same : Found::Other;
}

Result<Found> look(const Place& place, const Identity& identity) {
    return look(place.directory, place.name, identity);
}

Result<Found> look(const Grave& grave, const Identity& identity) {
    return look(grave.directory, grave.name, identity);
}

Result<void> rename_flags(int from, const std::string& from_name, int to,
                          const std::string& to_name, unsigned flags) {
    if (from < 0 || to < 0) return fail(ENOENT);
    return sys::rename(from, TRY(Name::from(from_name)), to, TRY(Name::from(to_name)), flags);
}

// Where the file system has no RENAME_NOREPLACE, looking first must do: the union's own verbs are
// kept out by the caller's locks.
Result<void> rename_no_replace(int from, const std::string& from_name, int to,
                               const std::string& to_name) {
    const auto renamed = rename_flags(from, from_name, to, to_name, RENAME_NOREPLACE);
    if (renamed || renamed.error() != EINVAL) return renamed;
    if (TRY(look(to, to_name, {})) != Found::Nothing) return fail(EEXIST);
    return rename_flags(from, from_name, to, to_name, 0);
}

Result<void> exchange(const Place& from, const Place& to) {
    return rename_flags(from.directory, from.name, to.directory, to.name, RENAME_EXCHANGE);
}

Result<void> move_to(const Place& from, const Place& to) {
    return rename_no_replace(from.directory, from.name, to.directory, to.name);
}

Result<void> entomb(const Place& place, const Grave& grave) {
    if (grave.directory < 0) return fail(EXDEV);
    return rename_no_replace(place.directory, place.name, grave.directory, grave.name);
}

// Puts back what is in the grave, if it is.
Result<void> exhume(const Grave& grave, const Identity& identity, const Place& place) {
    if (TRY(look(grave, identity)) != Found::Same) return {};
    return rename_no_replace(grave.directory, grave.name, place.directory, place.name);
}

Result<void> remove_object(int directory, const std::string& text, bool is_directory) {
    const Name name = TRY(Name::from(text));
    return is_directory ? sys::remove_directory(directory, name) : sys::remove_name(directory, name);
}

bool nothing_inside(std::string_view) { return true; }

// The victim of a step, where it has one.
struct Victim {
    Identity identity;
    bool is_directory;
};

const Victim* victim_of(const Step& step, Victim& victim) {
    if (const auto* bury = std::get_if<Bury>(&step)) {
        victim = {bury->identity, bury->is_directory};
        return &victim;
    }
    if (const auto* replace = std::get_if<Replace>(&step)) {
        victim = {replace->victim, replace->victim_is_directory};
        return &victim;
    }
    return nullptr;
}

}  // namespace

Result<void> PlanRun::absent(bool elsewhere) {
    if (elsewhere) return {};
    if (when_ == When::Live) return fail(ESTALE);
    ++lost_;
    return {};
}

Result<void> PlanRun::bury_or_defer(const Place& place, const Grave& grave,
                                    const Identity& identity, bool is_directory) {
    const auto buried = entomb(place, grave);
    if (buried) return {};
    const Errno error = buried.error();
    // Another mount or project quota, or no room for the grave's name: unlinking needs neither.
    if (error == EXDEV || error == ENOSPC || error == EDQUOT || error == EMLINK) {
        in_place_.push_back({&place, identity, is_directory});
        return {};
    }
    return buried;
}

Result<void> PlanRun::forward(const Move& move) {
    const Found at_from = TRY(look(move.from, move.identity));
    if (at_from == Found::Same) {
        if (move.mode == Move::Mode::NoReplace) return move_to(move.from, move.to);
        // Two names of one object: exchanging them changes nothing.
        if (TRY(look(move.to, move.identity)) == Found::Same) return {};
        return exchange(move.from, move.to);
    }
    return absent(TRY(look(move.to, move.identity)) == Found::Same);
}

Result<void> PlanRun::exchange_and_bury(const Replace& replace, const Grave& grave) {
    const auto exchanged = exchange(replace.from, replace.to);
    if (exchanged) {
        return bury_or_defer(replace.from, grave, replace.victim, replace.victim_is_directory);
    }
    if (exchanged.error() != EINVAL) return exchanged;
    TRY(entomb(replace.to, grave));
    return move_to(replace.from, replace.to);
}

Result<void> PlanRun::forward(const Replace& replace, const Grave& grave) {
    if (TRY(look(replace.to, replace.identity)) == Found::Same) {
        if (TRY(look(replace.from, replace.victim)) != Found::Same) return {};
        return bury_or_defer(replace.from, grave, replace.victim, replace.victim_is_directory);
    }
    if (TRY(look(replace.from, replace.identity)) != Found::Same) return absent(false);
    switch (TRY(look(replace.to, replace.victim))) {
        case Found::Nothing: return move_to(replace.from, replace.to);
        case Found::Same: return exchange_and_bury(replace, grave);
        case Found::Other: return fail(ESTALE);
    }
    return fail(ESTALE);
}

Result<void> PlanRun::forward(const Bury& bury, const Grave& grave) {
    switch (TRY(look(bury.place, bury.identity))) {
        case Found::Nothing: return {};
        case Found::Same:
            return bury_or_defer(bury.place, grave, bury.identity, bury.is_directory);
        case Found::Other: return when_ == When::Live ? Result<void>(fail(ESTALE)) : Result<void>();
    }
    return {};
}

Result<void> PlanRun::remove_in_place() {
    for (const InPlace& victim : std::exchange(in_place_, {})) {
        if (TRY(look(*victim.place, victim.identity)) != Found::Same) continue;
        TRY(remove_object(victim.place->directory, victim.place->name, victim.is_directory));
    }
    return {};
}

Result<void> PlanRun::forward() {
    for (std::size_t index = 0; index < plan_.size(); ++index) {
        const Step& step = plan_[index];
        if (const auto* move = std::get_if<Move>(&step)) {
            TRY(forward(*move));
        } else if (const auto* replace = std::get_if<Replace>(&step)) {
            TRY(forward(*replace, graves_[index]));
        } else {
            TRY(forward(std::get<Bury>(step), graves_[index]));
        }
    }
    return remove_in_place();
}

Result<void> PlanRun::back(const Move& move) {
    if (TRY(look(move.from, move.identity)) == Found::Same) return {};
    if (TRY(look(move.to, move.identity)) != Found::Same) return {};
    if (move.mode == Move::Mode::Exchange) return exchange(move.to, move.from);
    return move_to(move.to, move.from);
}

Result<void> PlanRun::back(const Replace& replace, const Grave& grave) {
    if (TRY(look(replace.from, replace.identity)) != Found::Same &&
        TRY(look(replace.to, replace.identity)) == Found::Same) {
        if (TRY(look(replace.from, replace.victim)) == Found::Same) {
            return exchange(replace.to, replace.from);
        }
        // With the victim buried: its name is missing from here to the next line's end, as it was
        // not on the way forward, but the record is still there.
        TRY(move_to(replace.to, replace.from));
    }
    return exhume(grave, replace.victim, replace.to);
}

Result<void> PlanRun::back(const Bury& bury, const Grave& grave) {
    return exhume(grave, bury.identity, bury.place);
}

Result<void> PlanRun::back() {
    Result<void> first;
    for (std::size_t index = plan_.size(); index-- > 0;) {
        const Step& step = plan_[index];
        Result<void> undone;
        if (const auto* move = std::get_if<Move>(&step)) {
            undone = back(*move);
        } else if (const auto* replace = std::get_if<Replace>(&step)) {
            undone = back(*replace, graves_[index]);
        } else {
            undone = back(std::get<Bury>(step), graves_[index]);
        }
        if (!undone && first) first = undone;
    }
    return first;
}

Result<void> PlanRun::synchronize() const {
    std::set<int> done{-1};
    const auto once = [&](int directory) -> Result<void> {
        if (!done.insert(directory).second) return {};
        return sys::synchronize_directory(directory);
    };
    for (std::size_t index = 0; index < plan_.size(); ++index) {
        const Step& step = plan_[index];
        if (const auto* move = std::get_if<Move>(&step)) {
            TRY(once(move->from.directory));
            TRY(once(move->to.directory));
            continue;
        }
        if (const auto* replace = std::get_if<Replace>(&step)) {
            TRY(once(replace->from.directory));
            TRY(once(replace->to.directory));
        } else {
            TRY(once(std::get<Bury>(step).place.directory));
        }
        TRY(once(graves_[index].directory));
    }
    return {};
}

Result<void> PlanRun::remove_directory_graves() {
    std::vector<const Grave*> found;
    for (std::size_t index = 0; index < plan_.size(); ++index) {
        Victim victim{};
        const Grave& grave = graves_[index];
        if (victim_of(plan_[index], victim) == nullptr || !victim.is_directory) continue;
        if (TRY(look(grave, victim.identity)) != Found::Same) continue;
        const UniqueFd directory =
            TRY(sys::open_directory_at(grave.directory, TRY(Name::from(grave.name))));
        // All are looked at before the first goes: afterwards that one can't be put back.
        if (!TRY(sys::is_empty(directory.get(), nothing_inside))) return fail(ENOTEMPTY);
        found.push_back(&grave);
    }
    for (const Grave* grave : found) TRY(remove_object(grave->directory, grave->name, true));
    return {};
}

void PlanRun::remove_file_graves() {
    for (std::size_t index = 0; index < plan_.size(); ++index) {
        Victim victim{};
        const Grave& grave = graves_[index];
        if (victim_of(plan_[index], victim) == nullptr || victim.is_directory) continue;
        if (grave.directory < 0) continue;
        static_cast<void>(remove_object(grave.directory, grave.name, false));
    }
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
        return rename_flags(replace->from.directory, replace->from.name, replace->to.directory,
                            replace->to.name, 0);
    }
    const auto& bury = std::get<Bury>(step);
    switch (TRY(look(bury.place, bury.identity))) {
        case Found::Nothing: return {};
        case Found::Same:
            return remove_object(bury.place.directory, bury.place.name, bury.is_directory);
        case Found::Other: return fail(ESTALE);
    }
    return {};
}

Result<void> remove_without_record(const Plan& plan) {
    for (const Step& step : plan) {
        if (!std::holds_alternative<Bury>(step)) return fail(EINVAL);
    }
    for (auto step = plan.rbegin(); step != plan.rend(); ++step) TRY(run_alone(*step));
    return {};
}

}  // namespace plyfs
