/* placeholder until the folder has its first module */
extern int dockerfile_placeholder_;
int dockerfile_placeholder_;
