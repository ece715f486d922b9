// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/sweep.h"

#include <dirent.h>

#include <optional>
#include <string>
#include <vector>

#include "format/temporary_name.h"
#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/open.h"

namespace plyfs::format {
namespace {

struct Found {
    std::string name;
    bool is_directory;
};

class Sweep {
public:
    Sweep(int top, const std::function<bool(std::string_view)>& stale) : top_(top), stale_(stale) {}

    Result<std::uint64_t> run() {
        // A directory that changes while it is read may hide names from the reader: again, until
        // a whole pass finds nothing to do.
        do {
            progress_ = false;
            error_.reset();
            if (auto done = pass_over_top(); !done) note(done.error());
        } while (progress_);
        if (error_) return fail(*error_);
        return removed_;
    }

private:
    void note(Errno error) {
        if (!error_) error_ = error;
    }

    void count(const Result<void>& removed) {
        if (!removed) {
            if (removed.error() != ENOENT) note(removed.error());
            return;
        }
        ++removed_;
        progress_ = true;
    }

    // One buffer of names at a time, copied, since they are removed while being read.
    template <typename Visit>
    static Result<void> for_each_name(int directory, Visit visit) {
        auto reader = TRY(sys::DirectoryReader::open(directory));
        while (TRY(reader.fill())) {
            std::vector<Found> batch;
            reader.for_each([&](const sys::RawEntry& entry) {
                batch.push_back({entry.name, entry.type == DT_DIR});
            });
            for (const Found& found : batch) visit(found);
        }
        return {};
    }

    Result<void> pass_over_top() {
        return for_each_name(top_, [&](const Found& found) {
            if (stale_(found.name)) remove(found);
        });
    }

    void remove(const Found& found) {
        const auto name = Name::from(found.name);
        if (!name) return note(name.error());
        if (!found.is_directory) {
            const auto removed = sys::remove_name(top_, *name);
            if (removed || removed.error() != EISDIR) return count(removed);
        }
        const auto removed = sys::remove_directory(top_, *name);
        if (removed || removed.error() != ENOTEMPTY) return count(removed);
        if (auto flat = flatten(*name); !flat) note(flat.error());
        count(sys::remove_directory(top_, *name));
    }

    Result<void> flatten(Name name) {
        const UniqueFd directory = TRY(sys::open_directory_at(top_, name));
        return for_each_name(directory.get(), [&](const Found& found) {
            const auto inner = Name::from(found.name);
            if (!inner) return note(inner.error());
            if (!found.is_directory) {
                const auto removed = sys::remove_name(directory.get(), *inner);
                if (removed || removed.error() != EISDIR) return count(removed);
            }
            hoist(directory.get(), *inner);
        });
    }

    void hoist(int directory, Name name) {
        const auto moved = make_temporary([&](Name target) -> Result<void> {
            // Without RENAME_NOREPLACE: a directory replaces nothing but an empty directory.
            auto renamed = sys::rename(directory, name, top_, target, 0);
            const bool taken =
                !renamed && (renamed.error() == ENOTEMPTY || renamed.error() == ENOTDIR);
            return taken ? fail(EEXIST) : renamed;
        });
        if (moved) {
            progress_ = true;
        } else if (moved.error() != ENOENT) {
            note(moved.error());
        }
    }

    const int top_;
    const std::function<bool(std::string_view)>& stale_;
    std::uint64_t removed_ = 0;
    bool progress_ = false;
    std::optional<Errno> error_;
};

}  // namespace

Result<std::uint64_t> sweep(int directory, const std::function<bool(std::string_view)>& stale) {
    return Sweep(directory, stale).run();
}

}  // namespace plyfs::format
