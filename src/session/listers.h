// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who lists directories, and whether attributes are wanted with the names. The kernel does not say:
// the first request of each listing asks for them (FUSE_READDIRPLUS_AUTO). So a caller is told
// some names without, and what it looks up of those tells. Remembers so many callers, by thread id,
// each in the place of whoever had it before; what is forgotten, or was learnt of an earlier thread
// with that id, costs requests and nothing else. Thread-safe, without locks: of two changes at once
// one may be lost.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace plyfs::session {

class Listers {
public:
    enum class Wish : std::uint8_t {
        Unknown,     // to be found out: some names are to be told without attributes
        Attributes,  // of all names
        Names,       // nothing more
    };
    // Of `caller`, who begins to list a directory. Of 0, whom nobody can tell from others (it is in
    // another PID namespace), nothing is learnt.
    Wish wish(pid_t caller) const noexcept;
    // `caller` was answered as wish() said, so that it has to ask for what it wants beyond that.
    void listed(pid_t caller) noexcept;
    // `caller` asked for attributes of a name.
    void asked(pid_t caller) noexcept;

    // So many listings of a caller that asks for nothing tell that it wants names only, until it
    // asks.
    static constexpr std::uint32_t kTrials = 3;
    // So many listings after it has asked are answered with attributes before it is tried again.
    static constexpr std::uint32_t kTrusted = 8;
    // Callers that are remembered.
    static constexpr std::size_t kCallers = 256;

private:
    // Listings are left of each: kTrials + kTrusted when it has asked, none when it wants names.
    struct Caller {
        pid_t thread = 0;
        std::uint32_t left = 0;
    };
    using Slot = std::atomic<Caller>;
    static_assert(Slot::is_always_lock_free);

    static std::size_t place(pid_t caller) noexcept {
        return static_cast<std::size_t>(caller) % kCallers;
    }

    std::array<Slot, kCallers> callers_{};
};

}  // namespace plyfs::session
