// A folder of a test's own, for sockets with a path.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace coro_test {

/// Made below /tmp, because the path of a Unix socket is short. Goes with what file() has named.
class own_folder {
public:
    own_folder() {
        std::string name = "/tmp/coro-test-XXXXXX";  // mkdtemp(3) fills in the end
        if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no folder below /tmp";
        else path_ = name;
    }
    own_folder(const own_folder&) = delete;
    own_folder& operator=(const own_folder&) = delete;
    ~own_folder() {
        for (const std::string& each : made_) ::unlink(each.c_str());
        ::rmdir(path_.c_str());
    }

    [[nodiscard]] std::string file(const std::string& name) {
        made_.push_back(path_ + "/" + name);
        return made_.back();
    }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
    std::vector<std::string> made_;
};

}  // namespace coro_test
