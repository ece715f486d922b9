// SPDX-License-Identifier: GPL-2.0-or-later
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "config/mount_options.h"
#include "config/option_table.h"
#include "config/settings.h"
#include "config_scratch.h"

using namespace plyfs::config;
using namespace std::chrono_literals;

namespace {

struct Applied {
    Options options;
    std::vector<std::string> warnings;
    std::string errors;
};

Applied apply(std::string_view text, bool sloppy = false) {
    Draft draft;
    const auto errors =
        apply_options(split_options(text), {"-o options", "/base", 0, 0, ""}, sloppy, draft);
    return {draft.options, draft.warnings, test::text_of(errors)};
}

Options options_of(std::string_view text) {
    auto applied = apply(text);
    CAPTURE(text);
    CHECK(applied.errors.empty());
    return applied.options;
}

}  // namespace

TEST_CASE("option lists are split at commas", "[config]") {
    const auto options = split_options(R"(a,b=1,,c=x\,y\\z=\:,d_e=,\,)");
    REQUIRE(options.size() == 5);
    CHECK(options[0].key == "a");
    CHECK_FALSE(options[0].value);
    CHECK(options[1].value == "1");
    CHECK(options[2].value == "x,y\\z=\\:");
    CHECK(options[3].key == "d-e");
    CHECK(options[3].written == "d_e");
    CHECK(options[3].value == "");
    CHECK(options[4].key == ",");
    CHECK(options[2].raw == R"(x\,y\\z=\:)");
}

TEST_CASE("mount options set what they name", "[config]") {
    const Options options = options_of(
        "minfreespace=1G,category.create=mfs,category.search=newest,category.action=all,"
        "func.mkdir=epff,cache.entry=2,cache.attr=500ms,cache.negative_entry=1m,"
        "cache.symlinks=false,cache.readdir,cache.exclusive=yes,passthrough.io=off,"
        "passthrough.max-stack-depth=2,locks=branch,posix_acl=no,xattr=nosys,threads=8,"
        "readahead=128,open-directories=100,max_background=64,log.level=debug,log.target=x.log,"
        "fsname=pool\\,1,subtype=pool,nonempty,allow_other=false");
    CHECK(options.min_free_space == std::uint64_t{1} << 30);
    CHECK(options.policies.create == Policy::Mfs);
    CHECK(options.policies.search == Policy::Newest);
    CHECK(options.policies.action == Policy::All);
    CHECK(options.policies.functions == std::map{std::pair{Function::Mkdir, Policy::EpFf}});
    CHECK(options.cache == CacheOptions{2s, 1min, 500ms, false, true, true});
    CHECK(options.passthrough == PassthroughOptions{PassthroughMode::Off, 2});
    CHECK(options.locks == LockScope::Branch);
    CHECK_FALSE(options.posix_acl);
    CHECK_FALSE(options.xattrs);
    CHECK(options.limits == LimitOptions{8, 100, 64, std::uint64_t{128} << 10});
    CHECK(options.logging == LoggingOptions{LogLevel::Debug, "/base/x.log"});
    CHECK(options.fsname == "pool,1");
    CHECK(options.subtype == "pool");
    CHECK(options.nonempty);
    CHECK_FALSE(options.allow_other);
}

TEST_CASE("how things are copied up is set by options too", "[config][copy_up]") {
    CHECK(options_of("ro").copy_up == CopyUpOptions{});
    const Options options =
        options_of("copy_up.policy=mfs,copy_up.fsync=off,copy_up.redirect=off,copy_up.metacopy,"
                   "copy_up.index=no,copy_up.whiteouts=dot,copy_up.xattrs=user");
    CHECK(options.copy_up == CopyUpOptions{Policy::Mfs, false, false, true, false,
                                           WhiteoutForm::Dot, MarkNames::User});
}

TEST_CASE("flags of mount(8) apply in order", "[config]") {
    CHECK(options_of("ro").read_only);
    CHECK_FALSE(options_of("ro,rw").read_only);
    CHECK(options_of("nosuid").no_suid);
    CHECK_FALSE(options_of("nosuid,suid").no_suid);
    CHECK(options_of("nodev,noexec,noatime,nodiratime,relatime,sync,dirsync").no_dev);
    CHECK_FALSE(options_of("sync,async").synchronous);
    CHECK_FALSE(options_of("noatime,strictatime").no_atime);
    const Options user = options_of("user");
    CHECK((user.no_suid && user.no_dev && user.no_exec));
    const Options user_exec = options_of("user=joe,exec");
    CHECK((user_exec.no_suid && user_exec.no_dev && !user_exec.no_exec));
    const Options owner = options_of("owner");
    CHECK((owner.no_suid && owner.no_dev && !owner.no_exec));
    CHECK_FALSE(options_of("suid,user,suid").no_suid);
    CHECK(options_of("suid,user").no_suid);
}

TEST_CASE("a later category drops the functions set before it", "[config]") {
    CHECK(options_of("func.mkdir=ff,func.unlink=all,category.create=mfs").policies.functions ==
          std::map{std::pair{Function::Unlink, Policy::All}});
    CHECK(options_of("category.create=mfs,func.mkdir=ff").policies.functions ==
          std::map{std::pair{Function::Mkdir, Policy::Ff}});
}

TEST_CASE("what fstab carries for others is ignored in silence", "[config]") {
    const auto applied =
        apply("defaults,_netdev,nofail,noauto,auto,x-systemd.automount,x-gvfs-show,"
              "X-mount.mkdir=0755,uhelper=udisks2,comment=a\\,b,nouser,default_permissions,,rw");
    CHECK(applied.errors.empty());
    CHECK(applied.warnings.empty());
    CHECK(applied.options == Options{});
}

TEST_CASE("options of mergerfs that have no effect here are warned about", "[config]") {
    const auto applied = apply("use_ino,splice_move,moveonenospc=true,inodecalc=path-hash");
    CHECK(applied.errors.empty());
    CHECK(applied.warnings ==
          std::vector<std::string>{"-o options: use_ino: has no effect, ignored",
                                   "-o options: splice_move: has no effect, ignored",
                                   "-o options: moveonenospc: not supported, ignored",
                                   "-o options: inodecalc: not supported, ignored"});
}

TEST_CASE("options of overlayfs and fuse-overlayfs set what plyfs has for them", "[config]") {
    const auto applied = apply(
        "redirect_dir=follow,metacopy=on,index=off,userxattr,fsync=0,noacl,noxattrs=1,timeout=5,"
        "xino=auto,uuid=null,static_nlink,threaded=0,nfs_export=off,verity=off,writeback=1");
    CHECK(applied.errors.empty());
    CHECK(applied.warnings.empty());
    const Options& options = applied.options;
    CHECK(options.copy_up ==
          CopyUpOptions{{}, false, false, true, false, WhiteoutForm::Auto, MarkNames::User});
    CHECK_FALSE(options.posix_acl);
    CHECK_FALSE(options.xattrs);
    CHECK(options.cache.entry == 5s);
    CHECK(options.cache.attributes == 5s);
    CHECK(options_of("volatile").is_volatile);
    CHECK(apply("uidmapping=0:1:2,squash_to_uid=0,verity=on").warnings.size() == 3);
}

TEST_CASE("wrong mount options say what to write", "[config]") {
    struct Row {
        std::string_view text;
        std::string_view error;
    };
    const auto row = GENERATE(
        Row{"cache.entri=1", "cache.entri: unknown option (did you mean `cache.entry`?)"},
        Row{"zebra", "zebra: unknown option"},
        Row{"minfreespace", "minfreespace: needs a value (minfreespace=VALUE)"},
        Row{"timeout", "timeout: needs a value (timeout=VALUE)"},
        Row{"redirect_dir=x", "redirect_dir: `x` is not one of its values"},
        Row{"ro=1", "ro: takes no value"},
        Row{"passthrough.io=wo", "passthrough.io: passthrough for `wo` alone is refused (a file "
                                 "opened both ways would fail: write on or off)"},
        Row{"passthrough.max-stack-depth=3",
            "passthrough.max-stack-depth: 3 is out of range (from 0 to 2)"},
        Row{"readahead=2G", "readahead: `2G` is too large (at most 1G)"},
        Row{"locks=none", "locks: `none` is not one of its values (local or branch)"},
        Row{"category.create=lus",
            "category.create: the policy `lus` is not supported (all, epall, epff, epmfs, eprand, "
            "ff, lfs, mfs, newest, pfrd or rand)"},
        Row{"copy_up.whiteouts=aufs", "copy_up.whiteouts: `aufs` is not one of its values (auto, "
                                      "device, xattr or dot)"},
        Row{"copy_up.policy=mspmfs",
            "copy_up.policy: the policy `mspmfs` is not supported (all, epall, epff, epmfs, "
            "eprand, ff, lfs, mfs, newest, pfrd or rand)"},
        Row{"remount", "remount: is not supported (unmount it and mount it again)"},
        Row{"posix-acl=maybe",
            "posix-acl: `maybe` is neither true nor false (write true or false)"},
        Row{"a\033[2Jb", "a\\x1b[2Jb: unknown option"});
    CAPTURE(row.text);
    CHECK(apply(row.text).errors == "-o options: " + std::string(row.error));
}

TEST_CASE("mount -s makes unknown options warnings", "[config]") {
    const auto applied = apply("zebra,ro", true);
    CHECK(applied.errors.empty());
    CHECK(applied.warnings ==
          std::vector<std::string>{"-o options: zebra: unknown option, ignored"});
    CHECK(applied.options.read_only);
}

TEST_CASE("no option is in two tables, and flags name settings", "[config]") {
    for (const Setting& setting : settings()) {
        CAPTURE(setting.option);
        CHECK(find_flag(setting.option) == nullptr);
        if (!setting.option.empty()) CHECK(find_foreign_option(setting.option) == nullptr);
        CHECK(setting.option.find('_') == std::string_view::npos);
        CHECK(find_setting(setting.yaml) == &setting);
    }
    for (const Flag& flag : flags()) {
        CAPTURE(flag.option);
        CHECK(find_foreign_option(flag.option) == nullptr);
        for (const Flag::Effect& effect : flag.effects)
            CHECK((effect.yaml.empty() || find_setting(effect.yaml) != nullptr));
    }
}
