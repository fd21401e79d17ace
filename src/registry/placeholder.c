/* placeholder until the folder has its first module */
extern int registry_placeholder_;
int registry_placeholder_;
