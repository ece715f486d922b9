// SPDX-License-Identifier: GPL-2.0-or-later
//
// The -o options that are not settings of settings.h: flags of mount(8), what fstab lines carry for
// others, and what is known from mergerfs, mount -t overlay and fuse-overlayfs. Constant data.
// Names are normalized (`-` for `_`).
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace plyfs::config {

// A word that sets boolean settings: `user` is nosuid, nodev and noexec.
struct Flag {
    struct Effect {
        std::string_view yaml;  // "": none
        bool value = false;
    };
    std::string_view option;
    std::array<Effect, 3> effects;
};

// What overlayfs or fuse-overlayfs calls a setting. An option that stands for several settings has
// an alias for each.
struct Alias {
    struct Word {
        std::string_view written;
        std::string_view value;  // of the setting
    };
    std::string_view option;
    std::string_view yaml;
    std::span<const Word> words;  // none: the values are the setting's
};

enum class Treatment {
    Ignored,      // for mount(8), fstab or systemd; or what plyfs always does
    Obsolete,     // mergerfs ignores it too: warned about
    Unsupported,  // others have it, plyfs does not: warned about unless it is turned off
    Refused,      // an error with a reason
};

struct ForeignOption {
    std::string_view option;  // a trailing `*` stands for any rest
    Treatment treatment;
    std::string_view reason;  // Refused only
};

std::span<const Flag> flags();
const Flag* find_flag(std::string_view option);

std::span<const Alias> aliases();

std::span<const ForeignOption> foreign_options();
const ForeignOption* find_foreign_option(std::string_view option);

}  // namespace plyfs::config
