// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/detect.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>

#include "format/temporary_name.h"
#include "sys/entry.h"
#include "sys/file_handle.h"
#include "sys/open.h"

namespace plyfs::format {
namespace {

// A file of ours in the work directory, gone with the object.
class Trial {
public:
    static Result<Trial> make(int work) {
        UniqueFd file;
        std::string name = TRY(make_temporary([&](Name fresh) -> Result<void> {
            file = TRY(sys::open_at(work, fresh, O_WRONLY | O_CREAT | O_EXCL, 0600));
            return {};
        }));
        return Trial(work, std::move(name), std::move(file));
    }
    ~Trial() {
        if (!name_.empty()) (void)sys::remove_name(work_, name());  // else it is swept later
    }
    Trial(Trial&& other) noexcept
        : work_(other.work_), name_(std::exchange(other.name_, {})), file_(std::move(other.file_)) {
    }
    Trial(const Trial&) = delete;
    Trial& operator=(const Trial&) = delete;
    Trial& operator=(Trial&&) = delete;

    Name name() const { return *Name::from(name_); }
    int file() const { return file_.get(); }

private:
    Trial(int work, std::string name, UniqueFd file)
        : work_(work), name_(std::move(name)), file_(std::move(file)) {}

    int work_;
    std::string name_;
    UniqueFd file_;
};

std::optional<Errno> refusal(const Result<void>& done) {
    if (done) return std::nullopt;
    return done.error();
}

std::optional<Errno> try_device(int work) {
    const auto made =
        make_temporary([&](Name name) { return sys::make_node(work, name, S_IFCHR, 0); });
    if (!made) return made.error();
    (void)sys::remove_name(work, *Name::from(*made));  // else it is swept later
    return std::nullopt;
}

std::optional<Errno> try_names(int file, Namespace names) {
    const MarkFormat format{.names = names};
    if (auto written = write_mark(file, Mark::Impure, format, "y"); !written) {
        return written.error();
    }
    return refusal(remove_mark(file, Mark::Impure, kernel_rules(names)));
}

// Leaves a device of the old name, and the file under the new one.
std::optional<Errno> try_whiteout_on_rename(int work, const Trial& trial) {
    const auto moved = make_temporary([&](Name name) {
        return sys::rename(work, trial.name(), work, name, RENAME_NOREPLACE | RENAME_WHITEOUT);
    });
    if (!moved) return moved.error();
    (void)sys::remove_name(work, *Name::from(*moved));  // else it is swept later
    return std::nullopt;
}

std::expected<std::optional<Namespace>, MarkRefusal>
choose_names(const MarkSupport& support, const std::optional<Namespace>& wish) {
    using What = MarkRefusal::What;
    if (wish == Namespace::Trusted && support.trusted) {
        return std::unexpected(MarkRefusal{What::Trusted, *support.trusted});
    }
    if (wish == Namespace::User && support.user) {
        return std::unexpected(MarkRefusal{What::User, *support.user});
    }
    if (wish) return wish;
    if (!support.trusted) return Namespace::Trusted;
    if (!support.user) return Namespace::User;
    return std::nullopt;
}

}  // namespace

Result<MarkSupport> probe_marks(int work) {
    const Trial first = TRY(Trial::make(work));
    const Trial second = TRY(Trial::make(work));
    MarkSupport support;
    support.device = try_device(work);
    support.trusted = try_names(first.file(), Namespace::Trusted);
    support.user = try_names(first.file(), Namespace::User);
    support.exchange =
        refusal(sys::rename(work, first.name(), work, second.name(), RENAME_EXCHANGE));
    if (const auto handle = sys::file_handle(first.file()); !handle) {
        support.handles = handle.error();
    }
    support.whiteout_on_rename = try_whiteout_on_rename(work, first);
    return support;
}

std::string MarkRefusal::message() const {
    const std::string reason = " (" + error.message() + ')';
    switch (what) {
        case What::Device:
            return "whiteouts as devices 0:0 can't be made here" + reason +
                   "; files `.wh.NAME` can, and the kernel's overlayfs does not know them";
        case What::Trusted:
            return "trusted.overlay.* attributes can't be set here" + reason +
                   "; user.overlay.* need no privilege (overlayfs: userxattr)";
        case What::User: return "user.overlay.* attributes can't be set here" + reason;
        case What::NoAttributes:
            return "whiteouts as files with an attribute need attributes, which can't be set here" +
                   reason + "; files `.wh.NAME` need none";
    }
    return {};
}

std::expected<MarkFormat, MarkRefusal> choose_format(const MarkSupport& support,
                                                     const MarkWish& wish) {
    using What = MarkRefusal::What;
    const auto names = TRY(choose_names(support, wish.names));
    if (!wish.whiteout) {
        return MarkFormat{names, support.device ? WhiteoutKind::DotFile : WhiteoutKind::Device};
    }
    if (*wish.whiteout == WhiteoutKind::Device && support.device) {
        return std::unexpected(MarkRefusal{What::Device, *support.device});
    }
    if (*wish.whiteout == WhiteoutKind::XattrFile && !names) {
        const Errno reason = support.user.value_or(Errno(EOPNOTSUPP));
        return std::unexpected(MarkRefusal{What::NoAttributes, reason});
    }
    return MarkFormat{names, *wish.whiteout};
}

}  // namespace plyfs::format
