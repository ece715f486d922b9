// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/clear_directory.h"

#include <dirent.h>

#include <optional>
#include <string>
#include <vector>

#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "union/work_directory.h"

namespace plyfs {
namespace {

struct Found {
    std::string name;
    bool is_directory;
};

class Clearing {
public:
    Clearing(int top, const std::function<bool(std::string_view)>& keep) : top_(top), keep_(keep) {}

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
            if (!keep_ || !keep_(found.name)) remove(found);
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
        Result<void> moved = fail(EEXIST);
        while (!moved && moved.error() == EEXIST) {
            const std::string fresh = WorkDirectory::unique_name("swept");
            const auto target = Name::from(fresh);
            if (!target) return note(target.error());
            // Without RENAME_NOREPLACE: a directory replaces nothing but an empty directory.
            moved = sys::rename(directory, name, top_, *target, 0);
            if (!moved && moved.error() == ENOTEMPTY) moved = fail(EEXIST);
        }
        if (moved) {
            progress_ = true;
        } else if (moved.error() != ENOENT) {
            note(moved.error());
        }
    }

    const int top_;
    const std::function<bool(std::string_view)>& keep_;
    std::uint64_t removed_ = 0;
    bool progress_ = false;
    std::optional<Errno> error_;
};

}  // namespace

Result<std::uint64_t> clear_directory(int directory,
                                      const std::function<bool(std::string_view)>& keep) {
    return Clearing(directory, keep).run();
}

}  // namespace plyfs
